"""How much an agent is kept from: the levels A to D of design.md §10, and what is missing to the best of them."""

import os

from .drivers import driver, nixos_commands

NO_LIMITS = "no limit on memory, CPU and processes: this driver has no cgroups"
SHARED_UID = "all agents are this host's user, kept apart by namespaces alone: start the daemon as root for a user each"
NO_USERNS = "no user namespace: the agent's user is a real one of the host, with no right to anything"
NIX_SOCKET = "the nix daemon's socket is covered, not absent: NixOS' own start script binds it into every container"
OLD_NIXOS = (
    "no user namespace: this NixOS cannot give a container users of its own, so root inside is root; update NixOS"
)


def level(name: str) -> tuple[str, list[str]]:
    """The level that a driver reaches on this machine, and each point where it falls short of A."""
    if name == "process":
        return "D", ["no isolation at all: an agent can do whatever the daemon's user can"]
    if missing := driver(name).probe():
        return "D", [missing]
    if name == "nixos":
        return ("A", [NIX_SOCKET]) if nixos_commands.private_users() else ("C", [OLD_NIXOS, NIX_SOCKET])
    if name == "nspawn":
        return "B", [NO_LIMITS]
    return "B", [NO_USERNS if os.geteuid() == 0 else SHARED_UID, NO_LIMITS]


def needs_trust(letter: str) -> bool:
    """C and D hold off accidents, not attackers: such agents have to be trusted by name."""
    return letter in "CD"
