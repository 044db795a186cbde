"""What an agent finds inside, whichever sandbox it is in: the same places, the same files, the same read-only system."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lifecycle import paths

from .local import PACKAGES, claude, package
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

# tmpfs inside -> bytes: they live in the host's memory. 1777, for they may be made by another user than the agent.
SCRATCH = {"/tmp": 1 << 30, "/root": 1 << 28, "/dev/shm": 1 << 28}  # noqa: S108


class Bind(NamedTuple):
    source: Path
    inside: str
    writable: bool = False


def links() -> Iterator[tuple[str, str]]:
    """/bin and its like where they only point into /usr: name -> target."""
    for name in LINKS:
        if os.path.islink(f"/{name}"):
            yield f"/{name}", os.readlink(f"/{name}")


def system() -> Iterator[Bind]:
    for place in (*SYSTEM, *(f"/{name}" for name in LINKS if not os.path.islink(f"/{name}"))):
        if os.path.exists(place):
            yield Bind(Path(place), place)


def programs(spec: Spec, driver: str) -> Iterator[Bind]:
    """The interpreter and its packages, our three, the init, and the one file that is claude."""
    yield Bind(Path(os.path.realpath(_which("catatonit", driver))), INIT)
    for source in _interpreter():
        yield Bind(Path(source), source)
    if sys.prefix != sys.base_prefix:
        yield Bind(Path(sys.prefix), VENV)
    for name in PACKAGES:
        if (place := package(name)).is_dir():
            yield Bind(place, f"{APP}/{name}")
    yield Bind(MANAGED, "/etc/claude-code/managed-settings.json")
    if not spec.command:
        yield Bind(claude(), CLAUDE)


def files(spec: Spec) -> Iterator[Bind]:
    """What is this agent's own. Every source lies in a directory of the host's, so no agent can put a link in its place."""
    name = spec.name
    yield Bind(paths.socket_dir(name, spec.role), "/run/hive")
    yield Bind(paths.agent_file(name), "/etc/hyperhive/agent.json")
    yield Bind(paths.claude_dir(name), "/root/.claude", True)
    yield Bind(paths.journal_dir(name), "/var/lib/hive", True)
    yield Bind(paths.state_dir(name), "/state", True)
    yield Bind(paths.workspace_dir(name), "/workspace", True)
    if spec.role == "manager":
        # The tree as a whole, so that agents to come appear in it. Nothing below is bound into any other container: were
        # it, the manager could put a link in its place.
        yield Bind(paths.proposed_dir(), "/agents", True)


def etc(spec: Spec, uid: int) -> dict[str, str]:
    """The files of /etc that are made for the agent, who is `uid` inside."""
    nobody_else = "" if uid == 0 else "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
    nor_group = "" if uid == 0 else "root:x:0:\n"
    return {
        "passwd": f"{nobody_else}agent:x:{uid}:{uid}:{spec.name}:/root:/bin/sh\n",
        "group": f"{nor_group}agent:x:{uid}:\n",
        "hosts": f"127.0.0.1 localhost h-{spec.name}\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "resolv.conf": "# No network but lo: the host's relay resolves names.\n",
    }


def python() -> str:
    """The interpreter, by its path inside."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    return f"{VENV}/{Path(sys.executable).relative_to(sys.prefix)}"


def _interpreter() -> list[str]:
    """Where Python and its standard library are, unless /usr has them; under both names when one is a link."""
    places = {sys.base_prefix, os.path.realpath(sys.base_prefix)}
    if "/" in places or os.path.expanduser("~") in places:
        raise DriverError(
            f"Python is installed straight into {sys.base_prefix}, which no agent may see: use another one."
        )
    return sorted(place for place in places if not Path(place).is_relative_to("/usr"))


def _which(tool: str, driver: str) -> str:
    found = shutil.which(tool)
    if not found:
        raise DriverError(f"Driver {driver} needs {tool}: install it, or run bin/setup.")
    return found
