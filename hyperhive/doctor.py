"""`hive doctor`: what this machine has of what a hive needs, one finding a line, and what mends it.

Each check is a function of the settings and the machine alone, so that it says the same with a hive running and without.
"""

import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings

from agents.cli import WANTED
from lifecycle import cli, drivers, isolation, room
from lifecycle.config import AgentConfig
from lifecycle.drivers.cgroups import cgroups

from . import __version__
from .state import FREE

OK, NOTE, MEND = "ok", "note", "mend"
# Below this a hive still starts, but an agent's build or a long log may end it.
SCANT = 1 << 30
MOUNTS = Path("/proc/self/mounts")
# SQLite's write-ahead log needs memory that all its users share (sqlite.org/wal.html).
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "glusterfs")
OLDEST_GIT = (2, 39)
# Whoever reads these can sign in, or reads every message.
SECRET = ("secret_key", "hive.sqlite3")


class Finding(NamedTuple):
    check: str
    state: str  # ok; note: worth knowing; mend: something does not work, and `fix` says what to do
    found: str
    fix: str = ""


Check = Callable[[bool], Iterator[Finding]]


def examine(running: bool) -> dict[str, Any]:
    """Every check; `running` says whether it is the hive itself that asks. JSON, schema 1."""
    findings = [finding for check in CHECKS for finding in check(running)]
    return {
        "version": __version__,
        "running": running,
        "level": isolation.level(_driver())[0],
        "ok": not any(finding.state == MEND for finding in findings),
        "checks": [finding._asdict() for finding in findings],
    }


def _driver() -> str:
    """The driver that the hive has, or would have."""
    try:
        return drivers.choose(settings.HIVE_DRIVER)
    except drivers.DriverError:
        return settings.HIVE_DRIVER if settings.HIVE_DRIVER in drivers.DRIVERS else drivers.choose()


# ---- agents -----------------------------------------------------------------------------------------------------------


def of_drivers(running: bool) -> Iterator[Finding]:
    """What does not work here is only to be mended where it was asked for by name."""
    if settings.HIVE_DRIVER and settings.HIVE_DRIVER not in drivers.DRIVERS:
        offered = ", ".join(drivers.DRIVERS)
        yield Finding("driver", MEND, f"HIVE_DRIVER names {settings.HIVE_DRIVER}", f"set it to one of {offered}")
    for name, driver in drivers.DRIVERS.items():
        if missing := driver.probe():
            wanted = name == settings.HIVE_DRIVER
            found, fix = split(missing)
            yield Finding(f"driver {name}", MEND if wanted else NOTE, found.removeprefix(f"Driver {name} "), fix)
        elif name == _driver():
            yield Finding(f"driver {name}", OK, "in use" if running else "the one that a hive would use")
        else:
            yield Finding(f"driver {name}", OK, "works here")


def of_isolation(running: bool) -> Iterator[Finding]:
    letter, points = isolation.level(_driver())
    if isolation.needs_trust(letter):
        fix = "use another driver, or start with --trust-agents if you trust every agent with this account"
        state = NOTE if settings.HIVE_TRUST_AGENTS or running else MEND
        yield Finding("isolation", state, f"level {letter}: accidents are held off, attackers are not", fix)
    else:
        yield Finding("isolation", OK, f"level {letter}: a hostile agent is contained")
    for point in points:
        yield Finding("isolation", NOTE, f"not level A: {point}")


def of_claude(running: bool) -> Iterator[Finding]:
    try:
        path = cli.usable()
        found = cli.version()
    except cli.NoClaude as no:
        yield Finding("claude", MEND, *split(str(no)))
        return
    if found == WANTED:
        yield Finding("claude", OK, f"{found}, {path}")
    else:
        fix = f"bin/setup installs {WANTED}; HIVE_CLAUDE names another"
        yield Finding("claude", NOTE, f"{found} at {path}, tested is {WANTED}", fix)


def of_git(running: bool) -> Iterator[Finding]:
    said = _said("git", "--version")
    words = said.split()
    version = tuple(int(part) for part in words[2].split(".")[:2] if part.isdecimal()) if len(words) > 2 else ()
    if not said:
        yield Finding("git", MEND, "there is none: no configuration can be applied", "apt-get install git")
    elif version < OLDEST_GIT:
        yield Finding("git", MEND, f"{words[2]} is older than 2.39, which the intake was tested with", "update git")
    else:
        yield Finding("git", OK, words[2])


def of_nix(running: bool) -> Iterator[Finding]:
    said = _said("nix", "--version")
    if said:
        yield Finding("nix", OK, said.removeprefix("nix (Nix) "))
    elif _driver() == "nixos":
        yield Finding("nix", MEND, "there is none: no agent's system can be built", "see docs/nixos.md")
    else:
        yield Finding("nix", OK, "there is none; only driver nixos needs it")


def of_cgroups(running: bool) -> Iterator[Finding]:
    """As the drivers find them: systemd's, or directories of our own under either version."""
    if lacking := cgroups().lacking():
        fix = "run the daemon under systemd, or as root where /sys/fs/cgroup can be written to"
        yield Finding("cgroups", NOTE, f"agents cannot be held to {', '.join(lacking)}", fix)
    else:
        yield Finding("cgroups", OK, "agents are held to memory_max, cpu_quota and tasks_max")


def of_rooms(running: bool) -> Iterator[Finding]:
    """Whether each agent has its own part of the disk, and whether the parts are more than there is."""
    most = room.size(AgentConfig())
    if why := room.missing(_driver()):
        found, fix = split(why)
        yield Finding("disk_max", NOTE, f"agents can fill the disk: {found}", fix)
    elif not most:
        fix = "set HIVE_AGENT_DISK_MAX to what each agent may fill, such as 10G"
        yield Finding("disk_max", NOTE, "agents can fill the disk: HIVE_AGENT_DISK_MAX is 0", fix)
    else:
        yield Finding("disk_max", OK, f"each agent may fill {_bytes(most)} of the disk, if it is not told otherwise")
    promised, there = room.promised(), shutil.disk_usage(_nearest(settings.HIVE_STATE_DIR)).total
    if promised > there:
        found = f"agents may fill {_bytes(promised)} in all, of a disk that has {_bytes(there)}"
        yield Finding(
            "disk_max", NOTE, found, "lower disk_max or HIVE_AGENT_DISK_MAX, or purge agents you no longer need"
        )
    if free := room.unbounded():
        fix = "save what they need, destroy them with --purge, and spawn them again"
        yield Finding("disk_max", NOTE, f"older than the limit, and held to none: {', '.join(free)}", fix)


# ---- the machine ------------------------------------------------------------------------------------------------------


def of_ports(running: bool) -> Iterator[Finding]:
    """A port that the hive itself holds is as it should be."""
    host, _, port = settings.HIVE_BIND.rpartition(":")
    named = [("pages", "HIVE_BIND", port), ("manager", "HIVE_MANAGER_PORT", settings.HIVE_MANAGER_PORT)]
    for what, variable, number in named:
        if not number:
            continue
        if not number.isdecimal() or int(number) > 65535:
            yield Finding("ports", MEND, f"{variable} is no port: {number}", f"set {variable} to a number below 65536")
        elif running or _free(host.strip("[]"), int(number)):
            yield Finding("ports", OK, f"{number} ({what}) is {'ours' if running else 'free'}")
        else:
            found = f"{number} ({what}) is taken, and by no hive of this state directory"
            yield Finding(
                "ports", MEND, found, f"end what listens there (ss -ltnp sport = :{number}), or set {variable}"
            )


def _free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True


def of_disk(running: bool) -> Iterator[Finding]:
    place = _nearest(settings.HIVE_STATE_DIR)
    disk = os.statvfs(place)
    left, files = disk.f_bavail * disk.f_frsize, disk.f_favail
    found = f"{_bytes(left)} left at {place}"
    if left < FREE or (disk.f_files and files < 1000):
        found = found if left < FREE else f"{files} files more fit on {place}"
        yield Finding("disk", MEND, found, "free some space, or set HIVE_STATE_DIR to a directory on a larger disk")
    else:
        yield Finding("disk", NOTE if left < SCANT else OK, found, "free some space soon" if left < SCANT else "")
    if (kind := _filesystem(place)) in REMOTE:
        fix = "set HIVE_STATE_DIR to a directory on a disk of this machine"
        yield Finding("disk", MEND, f"{place} is on {kind}, where SQLite loses what it was told to keep", fix)


def _filesystem(place: Path) -> str:
    """The type of what is mounted nearest above; the last mount of a place covers the others."""
    lines = (line.split() for line in MOUNTS.read_text().splitlines())
    above = [(len(at), kind) for _, at, kind, *_ in lines if place.resolve().is_relative_to(at)]
    longest = max(length for length, _ in above) if above else 0
    return next((kind for length, kind in reversed(above) if length == longest), "")


def of_clock(running: bool) -> Iterator[Finding]:
    """No clock is right that says what was written is still to come."""
    newest = max(_written(settings.HIVE_STATE_DIR / "hive.sqlite3"), _written(Path(__file__)))
    behind = newest - time.time()
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if behind > 60:
        found = f"it says {now}, {behind / 3600:.1f} hours before the newest of the hive's own files"
        yield Finding("clock", MEND, found, "set it (timedatectl set-ntp true)")
    else:
        yield Finding("clock", OK, now)


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


# ---- the state directory ----------------------------------------------------------------------------------------------


def of_state(running: bool) -> Iterator[Finding]:
    """Nobody but the daemon reads or writes there; of the sockets' directory, nobody else writes."""
    state, runtime = settings.HIVE_STATE_DIR, settings.HIVE_RUNTIME_DIR
    if not state.exists():
        place = _nearest(state)
        if os.access(place, os.W_OK):
            yield Finding("state", OK, f"{state} will be made at the first start")
        else:
            fix = "make it, owned by this user, or set HIVE_STATE_DIR"
            yield Finding("state", MEND, f"{state} cannot be made: {place} is not ours to write", fix)
        return
    wrong = [
        *_too_open(state, 0o077),
        *(problem for name in SECRET for problem in _too_open(state / name, 0o077)),
        *_too_open(runtime, 0o022),
    ]
    yield from wrong or [Finding("state", OK, f"{state} is closed to others")]


def _too_open(path: Path, mask: int) -> Iterator[Finding]:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("state", MEND, f"{path} cannot be looked at: {error.strerror}", "run this as the hive's user")
        return
    mode = stat.S_IMODE(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        yield Finding("state", MEND, f"{path} is a link", "name the directory itself, so that no one can exchange it")
    elif facts.st_uid != os.geteuid():
        yield Finding("state", MEND, f"{path} belongs to user {facts.st_uid}", f"chown {os.geteuid()} {path}")
    # SQLite makes its file as the umask says; the directory above keeps it.
    elif mode & mask and not (path.name in SECRET and not path.parent.stat().st_mode & 0o077):
        yield Finding("state", MEND, f"others can get at {path} (mode {mode:04o})", f"chmod {mode & ~mask:04o} {path}")


CHECKS: tuple[Check, ...] = (
    of_drivers, of_isolation, of_claude, of_git, of_nix, of_cgroups, of_rooms, of_ports, of_disk, of_clock, of_state,
)  # fmt: skip


# ---- words ------------------------------------------------------------------------------------------------------------


def split(sentence: str) -> tuple[str, str]:
    """Our sentences say what is wrong, a colon, and what helps."""
    wrong, _, fix = sentence.removesuffix(".").partition(": ")
    return wrong, fix


def _said(*argv: str) -> str:
    """What a program prints; '' when there is none or it fails."""
    if not shutil.which(argv[0]):
        return ""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _nearest(path: Path) -> Path:
    return path if path.exists() else _nearest(path.parent)


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= SCANT else f"{count >> 20} MiB"
