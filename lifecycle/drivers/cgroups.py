"""What an agent may use at most, and the set of all its processes: a cgroup that it is in before it begins.

Under systemd each agent is a scope of its own, which outlives the daemon's unit; elsewhere root makes the directories
itself, in cgroup v2 or in the hierarchies of v1, whichever the machine has (systemd.scope(5), cgroups(7)).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from lifecycle import paths
from lifecycle.config import AgentConfig, bytes_of

from .spec import DriverError

ROOT = Path("/sys/fs/cgroup")
# A key of the configuration -> the controller that it needs.
NEEDS = {"memory_max": "memory", "cpu_quota": "cpu", "tasks_max": "pids"}
# Hierarchies of v1 that limit nothing, but where nspawn would make directories beside everybody's.
TRACKING = ("systemd", "unified")
SLICE = "hive-agents.slice"
# Becomes the command once it is in the cgroup, so that nothing of the agent was ever outside.
JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"'
PERIOD = 100_000  # microseconds
# Seconds that the kernel gets to clear away what was killed, and systemd to answer.
CLEARING, PATIENCE = 10.0, 20.0


class Limits(NamedTuple):
    memory: int  # bytes, swap included
    cpu: int  # percent of one CPU
    tasks: int


def limits(config: AgentConfig) -> Limits:
    memory = config.memory_max or settings.HIVE_AGENT_MEMORY_MAX
    cpu = int((config.cpu_quota or settings.HIVE_AGENT_CPU_QUOTA).rstrip("%"))
    return Limits(bytes_of(memory), max(1, cpu), config.tasks_max or settings.HIVE_AGENT_TASKS_MAX)


class Cgroups(ABC):
    """How this machine does it."""

    # The controllers that work.
    able: frozenset[str] = frozenset()

    def lacking(self) -> list[str]:
        """The keys that cannot take effect."""
        return [key for key, controller in NEEDS.items() if controller not in self.able]

    @abstractmethod
    def command(self, name: str, most: Limits) -> list[str]:
        """Make it, empty and limited: what stands in front of the command that is to be in it. DriverError when it is in use."""

    @abstractmethod
    def end(self, name: str) -> None:
        """Kill all who are in it, and remove it. Nothing to do when there is none."""


class Nothing(Cgroups):
    """No right to any, and no systemd to ask."""

    def command(self, name: str, most: Limits) -> list[str]:
        return []

    def end(self, name: str) -> None:
        pass


# ---- directories of our own -------------------------------------------------------------------------------------------


class Directories(Cgroups):
    def __init__(self, hierarchies: dict[str, Path]):
        self.hierarchies = hierarchies
        self.able = frozenset(hierarchies).intersection(NEEDS.values())

    def command(self, name: str, most: Limits) -> list[str]:
        return ["/bin/sh", "-c", JOIN, "sh", *self.make(name, most), "--"]

    def make(self, name: str, most: Limits) -> list[str]:
        """The files into which its first process writes its pid."""
        if self.members(name):
            raise DriverError(f"Something of {name} still runs: stop it first.")
        self.end(name)
        try:
            for place in self._places(name):
                place.mkdir()
            for controller in self.able:
                for file, value in self._words(controller, most):
                    _write(self.hierarchies[controller] / paths.unit(name) / file, value)
        except OSError as error:
            raise DriverError(f"The limits of {name} cannot be set: {error}.") from None
        return [os.fspath(place / "cgroup.procs") for place in self._places(name)]

    def _words(self, controller: str, most: Limits) -> list[tuple[str, object]]:
        quota = most.cpu * PERIOD // 100
        unified = _is_unified(self.hierarchies[controller])
        if controller == "memory":
            if unified:
                return [("memory.max", most.memory), ("memory.swap.max", 0)]
            return [("memory.limit_in_bytes", most.memory), ("memory.memsw.limit_in_bytes", most.memory)]
        if controller == "cpu":
            return [("cpu.max", f"{quota} {PERIOD}") if unified else ("cpu.cfs_quota_us", quota)]
        return [("pids.max", most.tasks)]

    def members(self, name: str) -> set[int]:
        return {pid for place in self._places(name) for pid in _members(place)}

    def end(self, name: str) -> None:
        until = time.monotonic() + CLEARING
        if "pids" in self.able:
            # From here on none of them can make another one.
            with contextlib.suppress(OSError):
                _write(self.hierarchies["pids"] / paths.unit(name) / "pids.max", 0)
        while alive := self.members(name):
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise DriverError(f"Processes {sorted(alive)[:5]} of {name} do not end, not even killed.")
            time.sleep(0.02)
        for place in self._places(name):
            _remove(place, until)

    def _places(self, name: str) -> list[Path]:
        return [root / paths.unit(name) for root in dict.fromkeys(self.hierarchies.values())]


def _is_unified(root: Path) -> bool:
    return (root / "cgroup.controllers").exists()


def _write(file: Path, value: object) -> None:
    # The kernel counts no swap where it has none: such a file is not there then.
    if file.exists() or "sw" not in file.name:
        file.write_text(str(value))


def _members(place: Path) -> Iterator[int]:
    for directory, _, _ in os.walk(place):
        with contextlib.suppress(OSError):
            yield from map(int, Path(directory, "cgroup.procs").read_text().split())


def _remove(place: Path, until: float) -> None:
    """The files in it are the kernel's and go with it; it is busy for a moment after its last process ended."""
    for directory, _, _ in os.walk(place, topdown=False):
        while True:
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise DriverError(f"{directory} cannot be removed: {error.strerror}.") from None
                time.sleep(0.02)


# ---- scopes of systemd ------------------------------------------------------------------------------------------------


class Scopes(Cgroups):
    def __init__(self, able: frozenset[str]):
        self.able = able

    def command(self, name: str, most: Limits) -> list[str]:
        unit = f"{paths.unit(name)}.scope"
        if _systemctl("is-active", "--quiet", unit) == 0:
            raise DriverError(f"Something of {name} still runs: stop it first.")
        return [*_systemd_run(), f"--unit={unit}", f"--slice={SLICE}", *_properties(most), "--", *_forgetting()]

    def end(self, name: str) -> None:
        unit = f"{paths.unit(name)}.scope"
        until = time.monotonic() + CLEARING
        while _systemctl("is-active", "--quiet", unit) == 0:
            _systemctl("kill", "--signal=SIGKILL", unit)
            if time.monotonic() > until:
                raise DriverError(f"{unit} does not end, not even killed.")
            time.sleep(0.05)


def _properties(most: Limits) -> list[str]:
    words = (f"MemoryMax={most.memory}", "MemorySwapMax=0", f"CPUQuota={most.cpu}%", f"TasksMax={most.tasks}")
    return [f"--property={word}" for word in (*words, "Delegate=yes")]


def _systemd_run() -> list[str]:
    """--scope: it becomes the command itself, which so keeps its descriptors and its parent."""
    run = [shutil.which("systemd-run") or "systemd-run", "--quiet", "--collect", "--scope"]
    if os.geteuid() == 0:
        return run
    return ["/usr/bin/env", f"XDG_RUNTIME_DIR={os.environ.get('XDG_RUNTIME_DIR', '')}", *run, "--user"]


def _forgetting() -> list[str]:
    return [] if os.geteuid() == 0 else ["/usr/bin/env", "--unset=XDG_RUNTIME_DIR"]


def _systemctl(*words: str) -> int:
    user = [] if os.geteuid() == 0 else ["--user"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(["systemctl", *user, *words], capture_output=True, timeout=PATIENCE).returncode
    return 1


def _controllers_of_a_scope() -> frozenset[str]:
    """Where a scope's process finds itself: systemd takes a limit without a word also where no controller will hold it."""
    unit = f"hive-probe-{os.getpid()}.scope"
    script = (
        'cat /proc/self/cgroup "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.controllers" 2>/dev/null; :'
    )
    trial = [*_systemd_run(), f"--unit={unit}", *_properties(Limits(1 << 30, 100, 100)), "--", "/bin/sh", "-c", script]
    try:
        said = subprocess.run(trial, capture_output=True, text=True, timeout=PATIENCE).stdout
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    found = set()
    for line in said.splitlines():
        if ":" not in line:
            found.update(line.split())
        elif line.endswith(unit):
            found.update(line.split(":")[1].split(","))
    return frozenset(found.intersection(NEEDS.values()))


# ---- which ------------------------------------------------------------------------------------------------------------


def cgroups() -> Cgroups:
    return _cgroups(os.geteuid())


@cache
def _cgroups(euid: int) -> Cgroups:
    if os.path.isdir("/run/systemd/system") and shutil.which("systemd-run"):
        scopes = Scopes(_controllers_of_a_scope())
        return scopes if scopes.able or euid == 0 else Nothing()
    found = _unified() if _is_unified(ROOT) else _split()
    return Directories(found) if euid == 0 and set(found) & set(NEEDS.values()) else Nothing()


def _unified() -> dict[str, Path]:
    for controller in NEEDS.values():
        with contextlib.suppress(OSError):
            (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
    with contextlib.suppress(OSError):
        return {name: ROOT for name in (ROOT / "cgroup.subtree_control").read_text().split() if name in NEEDS.values()}
    return {}


def _split() -> dict[str, Path]:
    return {
        name: ROOT / name for name in (*NEEDS.values(), *TRACKING) if os.access(ROOT / name / "cgroup.procs", os.W_OK)
    }
