"""How much an agent is kept from: the levels A to D of design.md §10, what is missing to the best of them, and how to mend it.

A: users of its own in a namespace, no network but lo, limits. B: every namespace but that one, or no limits. C: root inside is
root. D: nothing. Each point is a sentence that ends with what would help.
"""

import ipaddress
import os
from collections.abc import Callable

from . import room
from .config import AgentConfig
from .drivers import Local, driver, nixos_commands

NOTHING = "no isolation at all: an agent can do whatever the daemon's user can; install bubblewrap (bin/setup) for driver bwrap"
SHARED_UID = "all agents are this host's user, kept apart by namespaces alone: start the daemon as root for a user each"
NO_USERNS = (
    "no user namespace: the agent's user is a real one of the host, with no right to anything; driver nspawn has one "
    "(install systemd-container, then --driver nspawn)"
)
NIX_SOCKET = (
    "the nix daemon's socket is covered, not absent, for NixOS' own start script binds it into every container: keep "
    "nix.settings.allowed-users to root and your own users, which shuts agents out of it"
)
OLD_NIXOS = (
    "no user namespace: this NixOS cannot give a container users of its own, so root inside is root; update NixOS"
)
LIMITS = {"memory_max": "memory", "cpu_quota": "CPU", "tasks_max": "processes"}


def level(name: str) -> tuple[str, list[str]]:
    """The level that a driver reaches on this machine, and each point where it falls short of the best."""
    if name == "process":
        return "D", [NOTHING, *_no_limits(name)]
    if missing := driver(name).probe():
        return "D", [missing]
    return LEVELS[name]()


def _nixos() -> tuple[str, list[str]]:
    if not nixos_commands.private_users():
        return "C", [OLD_NIXOS, NIX_SOCKET]
    return ("B", [*no_disk, NIX_SOCKET]) if (no_disk := _no_disk("nixos")) else ("A", [NIX_SOCKET])


def _nspawn() -> tuple[str, list[str]]:
    missing = _no_limits("nspawn")
    return ("B", missing) if missing else ("A", [])


def _bwrap() -> tuple[str, list[str]]:
    return "B", [NO_USERNS if os.geteuid() == 0 else SHARED_UID, *_no_limits("bwrap")]


LEVELS: dict[str, Callable[[], tuple[str, list[str]]]] = {"nixos": _nixos, "nspawn": _nspawn, "bwrap": _bwrap}


def _no_limits(name: str) -> list[str]:
    local = driver(name)
    lacking = [LIMITS[key] for key in local.lacking() if key in LIMITS] if isinstance(local, Local) else []
    mend = "run the daemon under systemd, or as root where /sys/fs/cgroup can be written to"
    limits = [f"no limit on {', '.join(lacking)}: there are no cgroups for it here; {mend}"] if lacking else []
    return [*limits, *_no_disk(name)]


def _no_disk(name: str) -> list[str]:
    if why := room.missing(name):
        return [f"no limit on the disk: {why}"]
    if not room.size(AgentConfig()):
        return ["no limit on the disk: HIVE_AGENT_DISK_MAX is 0; set it to what each agent may fill, such as 10G"]
    return []


def needs_trust(letter: str) -> bool:
    """C and D hold off accidents, not attackers: such agents have to be trusted by name."""
    return letter in "CD"


def must_not_listen(name: str, host: str) -> str:
    """Why the pages may not be served at that address: '' when they may."""
    if name != "process" or _is_loopback(host):
        return ""
    return (
        f"Driver process isolates nothing, so it serves this machine alone, not {host}: "
        "use --bind 127.0.0.1:7000, or --driver bwrap."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
