"""Driver `bwrap`: every namespace of its own, no network but `lo`, and as root a host user of its own (level B).

As root, bwrap makes the mounts and setpriv then becomes the agent's user inside. Not `bwrap --uid`: files in /state would
be root's on the host, and a setuid file left there would make anyone root (docs/decisions.md). As a plain user the sandbox
has a user namespace, and every agent's files are that user's.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lifecycle import paths, room

from . import inside
from .cgroups import cgroups, limits
from .inside import CLAUDE, INIT, PLACES, Bind, python
from .local import HARNESS, LANG, Local, write
from .spec import Spec

__all__ = ["CLAUDE", "Bwrap", "become", "python"]

NAMESPACES = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--unshare-net"]
INSIDE_UID = 1000


class Bwrap(Local):
    name = "bwrap"

    def probe(self) -> str:
        return _probe(os.geteuid())

    def owner(self, spec: Spec) -> int:
        return spec.uid if os.geteuid() == 0 else os.geteuid()

    def env(self, spec: Spec) -> dict[str, str]:
        return PLACES | LANG | {"HIVE_PYTHON": python()}

    def argv(self, spec: Spec) -> list[str]:
        return [
            *sandbox(f"h-{spec.name}"), "--json-status-fd", "{STATUS}", "--sync-fd", "{LOCK}",
            *_system(), *_scratch(), *_binds(inside.programs(spec, self.name)), *_binds(inside.files(spec)),
            *_binds(_etc(spec)), "--remount-ro", "/", "--chdir", "/",
            "--", *become(spec.uid), *self._bounded(spec), INIT, "--", *(spec.command or (python(), *HARNESS)),
        ]  # fmt: skip

    def lacking(self) -> list[str]:
        return [key for key in super().lacking() if key != "tasks_max"]

    def _bounded(self, spec: Spec) -> list[str]:
        """getrlimit(2). Without a cgroup the kernel can still count processes: of this user, in this user namespace."""
        most, longest = limits(spec.config).tasks, room.size(spec.config)
        tasks = [] if "pids" in cgroups().able else [f"--nproc={most}:{most}"]
        # Of one file. Its log is the host's, and lies in no room.
        length = [f"--fsize={longest}:{longest}"] if longest else []
        return ["prlimit", *tasks, *length, "--"] if tasks or length else []

    def _make_places(self, spec: Spec) -> None:
        super()._make_places(spec)
        etc = _etc_dir(spec.name)
        etc.mkdir(mode=0o755, exist_ok=True)
        for name, text in inside.etc(spec, _uid(spec.uid)).items():
            write(etc / name, text, self.owner(spec))


def sandbox(hostname: str) -> list[str]:
    """bwrap with all its namespaces. No --die-with-parent: it would fire when the thread that started us ends."""
    if os.geteuid() == 0:
        # What setpriv needs to become the agent, and drops for good.
        rights = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
    else:
        rights = ["--unshare-user", "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
    return ["bwrap", *NAMESPACES, *rights, "--hostname", hostname, "--as-pid-1", "--new-session"]


def become(uid: int) -> list[str]:
    """Inside, before anything of the agent runs: its user, no groups, no capability, none to be gained."""
    if os.geteuid() != 0:
        return []
    nothing = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", *nothing, "--"]


def _uid(uid: int) -> int:
    return uid if os.geteuid() == 0 else INSIDE_UID


@cache
def _probe(euid: int) -> str:
    needed = {"bwrap": "bubblewrap", "catatonit": "catatonit", "prlimit": "util-linux"} | (
        {"setpriv": "util-linux"} if euid == 0 else {}
    )
    if lacking := [debian for tool, debian in needed.items() if not shutil.which(tool)]:
        return f"Driver bwrap needs {' and '.join(lacking)}: install it, or run bin/setup."
    trial = [*sandbox("h-probe"), *_system(), "--", *become(65534), "true"]
    try:
        tried = subprocess.run(trial, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "Driver bwrap does not work here: a trial did not end within 20 s."
    words = tried.stderr.strip()[-300:]
    return f"Driver bwrap does not work here: {words or 'a trial failed'}." if tried.returncode else ""


# ---- what is inside ---------------------------------------------------------------------------------------------------


def _system() -> list[str]:
    links = [word for name, target in inside.links() for word in ("--symlink", target, name)]
    return [*_binds(inside.system()), *links, "--proc", "/proc", "--dev", "/dev"]


def _scratch() -> list[str]:
    return [
        word
        for place, size in inside.SCRATCH.items()
        for word in ("--perms", "1777", "--size", str(size), "--tmpfs", place)
    ]


def _etc(spec: Spec) -> Iterable[Bind]:
    return (Bind(_etc_dir(spec.name) / name, f"/etc/{name}") for name in inside.etc(spec, _uid(spec.uid)))


def _etc_dir(name: str) -> Path:
    return paths.run_dir(name) / "etc"


def _binds(binds: Iterable[Bind]) -> list[str]:
    return [word for bind in binds for word in _bind(bind)]


def _bind(bind: Bind) -> list[str]:
    """A bind with its parents, which bwrap would otherwise make unreadable for the agent's user."""
    parents = [
        str(parent) for parent in reversed(Path(bind.inside).parents) if str(parent) not in ("/", "/root", "/dev")
    ]
    dirs = [word for parent in parents for word in ("--perms", "0755", "--dir", parent)]
    return [*dirs, "--bind" if bind.writable else "--ro-bind", os.fspath(bind.source), bind.inside]
