"""Driver `nspawn`: a user namespace whose only user is the agent's own, no network but `lo`, and limits (level A).

Needs root and systemd-nspawn, not systemd as PID 1. The root directory is a skeleton of the host's that nobody inside can
write to; /usr is the host's, read-only. The range of users is one long: root inside is the agent's user of the host, the
same as under bwrap, so files, sockets and a set-uid file left in /state are that user's and nobody's more.
"""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lifecycle import paths, room
from lifecycle.config import AgentConfig

from . import inside
from .cgroups import cgroups, limits
from .inside import INIT, PLACES, Bind, python
from .local import HARNESS, LANG, Local, monitored
from .spec import DriverError, Spec

TOOLS = {"systemd-nspawn": "systemd-container", "catatonit": "catatonit"}
# Made by nspawn itself, whatever we put there.
API = ("/proc", "/sys", "/dev", "/run")

# systemd-nspawn(1). --keep-unit and --register=no: neither machined nor systemd has to be there. No capability at all,
# nor a way to one; what stays of the system calls is nspawn's own list without those.
WALLS = (
    "--quiet", "--register=no", "--keep-unit", "--settings=no", "--link-journal=no", "--timezone=off", "--resolv-conf=off",
    "--console=pipe", "--kill-signal=SIGTERM", "--private-users-ownership=off", "--private-network", "--read-only",
    "--no-new-privileges=yes", "--drop-capability=all", "--rlimit=RLIMIT_CORE=0",
    "--system-call-filter=~@keyring @mount bpf perf_event_open userfaultfd",
)  # fmt: skip


class Nspawn(Local):
    name = "nspawn"

    def probe(self) -> str:
        return _probe(os.geteuid())

    def by_default(self) -> bool:
        """Where systemd gives each agent a unit of its own."""
        return os.path.isdir("/run/systemd/system")

    def owner(self, spec: Spec) -> int:
        return spec.uid

    def env(self, spec: Spec) -> dict[str, str]:
        """Of nspawn. What the agent finds stands in the argv: nspawn passes nothing on."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}

    def argv(self, spec: Spec) -> list[str]:
        walls = container(paths.unit(spec.name), f"h-{spec.name}", root(spec.name), spec.uid)
        env = PLACES | LANG | {"HIVE_PYTHON": python()}
        variables = [f"--setenv={name}={value}" for name, value in env.items()]
        scratch = [f"--tmpfs={place}:mode=1777,size={size}" for place, size in inside.SCRATCH.items()]
        payload = spec.command or (python(), *HARNESS)
        # Of one file. Its log is the host's, and lies in no room.
        longest = [f"--rlimit=RLIMIT_FSIZE={most}"] if (most := room.size(spec.config)) else []
        return [
            *monitored("inner"), *walls, *longest, *variables, *scratch, *(_flag(bind) for bind in binds(spec)),
            "--chdir=/", "--", INIT, "--", *payload,
        ]  # fmt: skip

    def _make_places(self, spec: Spec) -> None:
        super()._make_places(spec)
        skeleton(root(spec.name), binds(spec), inside.etc(spec, 0))


def root(name: str) -> Path:
    return paths.run_dir(name) / "root"


def container(machine: str, hostname: str, root: Path, uid: int) -> list[str]:
    return [
        "systemd-nspawn", *WALLS, f"--machine={machine}", f"--hostname={hostname}", f"--directory={root}",
        f"--private-users={uid}:1",
    ]  # fmt: skip


def binds(spec: Spec) -> list[Bind]:
    return [*inside.system(), *inside.programs(spec, "nspawn"), *inside.files(spec)]


def _flag(bind: Bind) -> str:
    words = (os.fspath(bind.source), bind.inside)
    source, place = (word.replace("\\", "\\\\").replace(":", "\\:") for word in words)
    return f"--bind{'' if bind.writable else '-ro'}={source}:{place}"


def skeleton(place: Path, binds: list[Bind], etc: dict[str, str]) -> None:
    """Every mount point, root's of the host: nspawn would make those that are missing, and make them the agent's."""
    for path in ("", *API, "/etc", *inside.SCRATCH):
        _directory(place, path)
    place.chmod(0o755)
    for name, target in inside.links():
        if not (place / name[1:]).is_symlink():
            (place / name[1:]).symlink_to(target)
    for bind in binds:
        if bind.source.is_dir():
            _directory(place, bind.inside)
        else:
            _directory(place, os.path.dirname(bind.inside))
            (place / bind.inside[1:]).touch(0o644)
    for name, text in ({"os-release": "ID=hyperhive\nNAME=hyperhive\n"} | etc).items():
        (place / "etc" / name).write_text(text)


def _directory(root: Path, inside: str) -> None:
    (root / inside[1:]).mkdir(mode=0o755, parents=True, exist_ok=True)


@cache
def _probe(euid: int) -> str:
    if lacking := [debian for tool, debian in TOOLS.items() if not shutil.which(tool)]:
        return f"Driver nspawn needs {' and '.join(lacking)}: install it, or run bin/setup test."
    if euid != 0:
        return "Driver nspawn needs root: systemd-nspawn does nothing for others."
    name = f"probe-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="hive-probe-") as place:
        skeleton(Path(place), [*inside.system()], {})
        flags = [_flag(bind) for bind in inside.system()]
        walls = container(paths.unit(name), "h-probe", Path(place), 65534)
        try:
            # Outside of a cgroup of its own nspawn would make two in the daemon's.
            trial = [*cgroups().command(name, limits(AgentConfig())), *walls, *flags, "--", "/bin/true"]
            tried = subprocess.run(trial, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return "Driver nspawn does not work here: a trial did not end within 20 s."
        except DriverError as error:
            return f"Driver nspawn does not work here: {error}"
        finally:
            cgroups().end(name)
    words = tried.stderr.strip()[-300:]
    return f"Driver nspawn does not work here: {words or 'a trial failed'}." if tried.returncode else ""
