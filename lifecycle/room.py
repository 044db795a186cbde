"""How much of the disk an agent may fill: all that it writes lies in a file system of its own, as large as it may get.

STATE/rooms/<n>.img is a sparse file with an ext4 in it, mounted at homes/<n>; its `state` shows at agents/<n>/state too.
The manager's /agents is one more. It takes root and loop devices (loop(4)). The mounts outlive the daemon, and the next
one takes them up: a file that is mounted twice has one loop device, so also what an agent holds alone is the same again.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from . import paths, safe_fs
from .config import LEAST_DISK, AgentConfig, bytes_of

TOOLS = ("mkfs.ext4", "e2fsck", "resize2fs", "mount", "umount", "losetup")
# A set-user file or a device that is left there is of no use; what is deleted is given back to the host's disk.
OPTIONS = "loop,nosuid,nodev,discard,noinit_itable"
# No blocks for root, whose files these are not, a small journal, and nothing to be written later that is zero anyhow.
FORMAT = ("-q", "-F", "-m", "0", "-J", "size=8", "-E", "lazy_itable_init=0,root_owner=0:0")
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
HOST = "/proc/1/ns/mnt"
MIB = 1 << 20
PATIENCE = 120.0  # seconds
OF_EXT4 = 10  # inodes that it keeps for itself


class NoRoom(OSError):
    """It cannot be had; the text says what failed."""


class Room(NamedTuple):
    image: Path
    place: Path
    # Its directories that are seen elsewhere as well.
    shown: dict[str, Path]


def of(name: str) -> Room:
    return Room(paths.image(name), paths.home_dir(name), {"state": paths.state_dir(name)})


def of_proposed() -> Room:
    """What the manager may fill of /agents. No agent has a name with a dot."""
    return Room(paths.image(".proposed"), paths.proposed_dir(), {})


def size(config: AgentConfig) -> int:
    """Bytes, 0 for no limit."""
    return bytes_of(config.disk_max or settings.HIVE_AGENT_DISK_MAX) // 4096 * 4096


def probe() -> str:
    """'' when this machine can do it, else why not, a colon, and what helps."""
    return _probe(os.geteuid())


def missing(driver: str) -> str:
    """The same for the containers of one driver."""
    if driver == "process":
        return "the agent writes wherever the daemon's user does: use another driver"
    if driver == "nixos" and not os.access(HOST, os.R_OK):
        return "NixOS starts containers in mounts that the daemon cannot enter: give its unit CAP_SYS_PTRACE and CAP_SYS_ADMIN"
    return probe()


# ---- its life ---------------------------------------------------------------------------------------------------------


def furnish(room: Room, size: int) -> None:
    """Mount it; made where it is missing (0: it stays so), and grown or shrunk to `size` bytes while nobody uses it.

    An agent of before this was invented has plain directories, and keeps them: `unbounded` names it.
    """
    if not room.image.exists():
        if not size or _is_lived_in(room):
            return
        _make(room.image, size)
    elif size and room.image.stat().st_size != size:
        _resize(room, size)
    _mount(room)


def furnish_all(names: list[str]) -> list[str]:
    """After a restart of the host: those that there are. A sentence for each that cannot be had."""
    wrong = []
    for room in map(of, names):
        try:
            furnish(room, 0)
        except OSError as error:
            wrong.append(str(error))
    return wrong


def promised() -> int:
    """Bytes that all of them together may become."""
    return sum(image.stat().st_size for image in paths.image("").parent.glob("*.img"))


def unbounded() -> list[str]:
    """The agents whose files lie in plain directories, of however many there are."""
    homes = paths.home_dir("")
    names = [place.name for place in homes.iterdir() if place.is_dir()] if homes.is_dir() else []
    return sorted(name for name in names if not paths.image(name).exists() and _is_lived_in(of(name)))


def complaint(name: str) -> str:
    """A sentence, to stand behind another, where it is full: without some space to write its harness does not live. Else ''."""
    room = of(name)
    if not os.path.ismount(room.place) or not _is_full(os.statvfs(room.place)):
        return ""
    return f" Its part of the disk is full: make disk_max larger, or delete something below {room.place}, and start it again."


def remove(room: Room) -> safe_fs.Purged | None:
    """With all that is in it; None where there is none. Nothing of the agent may run any more."""
    if not room.image.exists():
        return None
    done = safe_fs.Purged(str(room.image))
    if os.path.ismount(room.place):
        facts = os.statvfs(room.place)
        done.files, done.bytes = (
            facts.f_files - facts.f_ffree - OF_EXT4,
            (facts.f_blocks - facts.f_bfree) * facts.f_frsize,
        )
    _unmount(room)
    room.image.unlink()
    return done


# ---- how --------------------------------------------------------------------------------------------------------------


def _is_full(facts: os.statvfs_result) -> bool:
    return facts.f_bavail * facts.f_frsize < MIB or facts.f_favail < 10


def _is_lived_in(room: Room) -> bool:
    for place in (room.place, *room.shown.values()):
        with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:
            if any(entries):
                return True
    return False


def _make(image: Path, size: int) -> None:
    image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = image.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", *FORMAT, str(new))
    os.replace(new, image)


def _mount(room: Room) -> None:
    room.place.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not os.path.ismount(room.place):
        _run("mount", "-t", "ext4", "-o", OPTIONS, str(room.image), str(room.place))
        if not os.path.ismount(room.place):
            raise NoRoom(f"{room.place} was mounted, but it does not show here: the daemon's mounts are cut off")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(room.place / "lost+found")
    for name, elsewhere in room.shown.items():
        for place in (room.place / name, elsewhere):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.ismount(elsewhere):
            _run("mount", "--bind", str(room.place / name), str(elsewhere))


def _unmount(room: Room) -> None:
    """--lazy: also where somebody's shell stands in it."""
    for place in (*room.shown.values(), room.place):
        if os.path.ismount(place):
            _run("umount", "--lazy", str(place))


def _resize(room: Room, size: int) -> None:
    _unmount(room)
    if _is_in_use(room.image):
        return  # at the next start, then
    _run("e2fsck", "-f", "-p", str(room.image), fine=(0, 1))
    _run("resize2fs", str(room.image), f"{size >> 10}K")
    os.truncate(room.image, size)


def _is_in_use(image: Path) -> bool:
    """By the agent, in mounts of its own. The kernel takes a moment to let go of a loop device."""
    for _ in range(20):
        if not _run("losetup", "--associated", str(image)):
            return False
        time.sleep(0.05)
    return True


def _run(tool: str, *words: str, fine: tuple[int, ...] = (0,)) -> str:
    """What it prints. Mounts are made where the host's first process sees them: it starts containers too."""
    found = shutil.which(tool, path=PATH)
    if not found:
        raise NoRoom(f"there is no {tool}: install e2fsprogs and mount")
    try:
        done = subprocess.run([*_outside(), found, *words], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise NoRoom(f"{tool} {words[-1]} did not end within {PATIENCE:.0f} s") from None
    if done.returncode not in fine:
        raise NoRoom(f"{tool}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _outside() -> list[str]:
    """Into the host's mounts, where a unit of systemd's gave the daemon some of its own; they show there as well."""
    with contextlib.suppress(OSError):
        if os.stat(HOST).st_ino != os.stat("/proc/self/ns/mnt").st_ino:
            return ["nsenter", f"--mount={HOST}", "--"]
    return []


@cache
def _probe(euid: int) -> str:
    """By trying: a loop device may be there and not be ours to use."""
    if euid != 0:
        return "only root can give each agent a file system of its own: start the daemon as root"
    if lacking := [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]:
        return f"{', '.join(lacking)} cannot be found: apt-get install e2fsprogs mount"
    where = settings.HIVE_STATE_DIR if settings.HIVE_STATE_DIR.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=".hive-probe-", dir=where) as place:
        room = Room(Path(place, "image"), Path(place, "room"), {})
        try:
            furnish(room, LEAST_DISK)
            remove(room)
        except OSError as error:
            return f"a trial failed ({error}): let the daemon use /dev/loop-control, or load the module loop"
    return ""
