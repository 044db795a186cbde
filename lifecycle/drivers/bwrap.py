"""Driver `bwrap`: every namespace of its own, no network but `lo`, and as root a host user of its own (level B).

As root, bwrap makes the mounts and setpriv then becomes the agent's user inside. Not `bwrap --uid`: files in /state would
be root's on the host, and a setuid file left there would make anyone root (docs/decisions.md). As a plain user the sandbox
has a user namespace, and every agent's files are that user's.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from lifecycle import paths

from .local import HARNESS, LANG, PACKAGES, Local, claude, package, write
from .spec import DriverError, Spec

# What holds for every claude inside, also for one that the agent starts by itself, without our flags.
MANAGED = Path(__file__).with_name("managed-settings.json")
VENV, APP, CLAUDE, INIT = "/opt/hive/venv", "/opt/hive/app", "/opt/hive/claude", "/opt/hive/init"

# Inside -> where the harness looks for it.
PLACES = {
    "HIVE_RUN": "/run/hive",
    "HIVE_JOURNAL": "/var/lib/hive",
    "HIVE_AGENT_FILE": "/etc/hyperhive/agent.json",
    "HIVE_STATE": "/state",
    "HIVE_WORKSPACE": "/workspace",
    "HIVE_AGENTS": "/agents",
    "HIVE_CLAUDE": CLAUDE,
    "CLAUDE_CONFIG_DIR": "/root/.claude",
    "HOME": "/root",
    "TMPDIR": "/tmp",  # noqa: S108 (a tmpfs of the sandbox's own)
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
    "PYTHONPATH": APP,
    "USER": "agent",
}

# Read-only from the host where it has them; everything else in /etc is made for the agent.
SYSTEM = (
    "/usr",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls",
)
LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# tmpfs inside -> bytes: they live in the host's memory. 1777, for as root they are made by another user than the agent.
SCRATCH = {"/tmp": 1 << 30, "/root": 1 << 28, "/dev/shm": 1 << 28}  # noqa: S108

ETC = {
    "passwd": "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:{uid}:{uid}:{name}:/root:/bin/sh\n",
    "group": "root:x:0:\nagent:x:{uid}:\n",
    "hosts": "127.0.0.1 localhost h-{name}\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "# No network but lo: the host's relay resolves names.\n",
}

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
            *_system(), *_scratch(), *_programs(spec), *_files(spec), "--remount-ro", "/", "--chdir", "/",
            "--", *become(spec.uid), INIT, "--", *(spec.command or (python(), *HARNESS)),
        ]  # fmt: skip

    def _make_places(self, spec: Spec) -> None:
        super()._make_places(spec)
        etc = paths.run_dir(spec.name) / "etc"
        etc.mkdir(mode=0o755, exist_ok=True)
        for name, text in ETC.items():
            write(etc / name, text.format(name=spec.name, uid=_uid(spec.uid)), self.owner(spec))


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
    needed = {"bwrap": "bubblewrap", "catatonit": "catatonit"} | ({"setpriv": "util-linux"} if euid == 0 else {})
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
    args = []
    for place in SYSTEM:
        if os.path.exists(place):
            args += bind("--ro-bind", place, place)
    for name in LINKS:
        if os.path.islink(f"/{name}"):
            args += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            args += bind("--ro-bind", f"/{name}", f"/{name}")
    return [*args, "--proc", "/proc", "--dev", "/dev"]


def _scratch() -> list[str]:
    return [
        word for place, size in SCRATCH.items() for word in ("--perms", "1777", "--size", str(size), "--tmpfs", place)
    ]


def _programs(spec: Spec) -> list[str]:
    """The interpreter and its packages, our three, the init, and the one file that is claude."""
    args = bind("--ro-bind", os.path.realpath(_which("catatonit")), INIT)
    for source in _interpreter():
        args += bind("--ro-bind", source, source)
    if sys.prefix != sys.base_prefix:
        args += bind("--ro-bind", sys.prefix, VENV)
    for name in PACKAGES:
        if (place := package(name)).is_dir():
            args += bind("--ro-bind", place, f"{APP}/{name}")
    args += bind("--ro-bind", MANAGED, "/etc/claude-code/managed-settings.json")
    return args if spec.command else args + bind("--ro-bind", claude(), CLAUDE)


def _interpreter() -> list[str]:
    """Where Python and its standard library are, unless /usr has them; under both names when one is a link."""
    places = {sys.base_prefix, os.path.realpath(sys.base_prefix)}
    if "/" in places or os.path.expanduser("~") in places:
        raise DriverError(
            f"Python is installed straight into {sys.base_prefix}, which no agent may see: use another one."
        )
    return sorted(place for place in places if not Path(place).is_relative_to("/usr"))


def python() -> str:
    """The interpreter, by its path inside."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    return f"{VENV}/{Path(sys.executable).relative_to(sys.prefix)}"


def _files(spec: Spec) -> list[str]:
    """What is this agent's own. Every source lies in a directory of the host's, so no agent can put a link in its place."""
    name = spec.name
    args = bind("--ro-bind", paths.socket_dir(name, spec.role), "/run/hive")
    args += bind("--ro-bind", paths.agent_file(name), "/etc/hyperhive/agent.json")
    for file in ETC:
        args += bind("--ro-bind", paths.run_dir(name) / "etc" / file, f"/etc/{file}")
    for source, inside in (
        (paths.claude_dir(name), "/root/.claude"),
        (paths.journal_dir(name), "/var/lib/hive"),
        (paths.state_dir(name), "/state"),
        (paths.workspace_dir(name), "/workspace"),
    ):
        args += bind("--bind", source, inside)
    if spec.role == "manager":
        # The tree as a whole, so that agents to come appear in it. Nothing below is bound into any other container: were
        # it, the manager could put a link in its place.
        args += bind("--bind", paths.proposed_dir(), "/agents")
    return args


def bind(how: str, source: str | Path, inside: str) -> list[str]:
    """A bind with its parents, which bwrap would otherwise make unreadable for the agent's user."""
    parents = [str(parent) for parent in reversed(Path(inside).parents) if str(parent) not in ("/", "/root", "/dev")]
    dirs = [word for parent in parents for word in ("--perms", "0755", "--dir", parent)]
    return [*dirs, how, os.fspath(source), inside]


def _which(tool: str) -> str:
    found = shutil.which(tool)
    if not found:
        raise DriverError(f"Driver bwrap needs {tool}: install it, or run bin/setup.")
    return found
