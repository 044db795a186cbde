"""What the `nixos` driver keeps in files: names and places, the .conf of a container, and its own record of what runs.

The .conf is the EnvironmentFile of container@h-<n>.service. `nixos-container create` writes it once and gives every
container a network; we write it anew before each start. What cannot be done in it is said where it is missed.
"""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from django.conf import settings

from lifecycle import flakes, paths

from .spec import DriverError, Spec

# The second one where the host's system.stateVersion is older than 22.05.
CONFS = (Path("/etc/nixos-containers"), Path("/etc/containers"))
PROFILES = Path("/nix/var/nix/profiles/per-container")
STORE = "/nix/store"
PREFIX = "h-"
# EXTRA_NSPAWN_FLAGS is expanded unquoted by a shell, after systemd has read the file: nothing in it can be quoted.
REFUSED = re.compile(r"[\s:$%\\\"'*?\[\]#,\x00-\x1f\x7f]")
# 65536 users for each agent, in the range that systemd keeps for containers (systemd.io/UIDS-GIDS).
USERS, FIRST, SLOTS = 65536, 524288, 28000


def container(name: str) -> str:
    return PREFIX + name


def unit(name: str) -> str:
    return f"container@{container(name)}.service"


def profile(name: str) -> Path:
    return PROFILES / container(name) / "system"


def toplevel(name: str) -> str:
    """The system that the next start would boot; '' when there is none."""
    link = profile(name)
    return os.path.realpath(link) if link.is_symlink() else ""


def build_dir(name: str) -> Path:
    """Where nixos-container runs: it leaves a link called .tmp in its directory, and two at once would race for it."""
    return paths.run_dir(name) / "build"


def first_user(spec: Spec) -> int:
    """The host's user that is root inside, as far from other agents' as 65536 users each can be."""
    return FIRST + spec.uid % SLOTS * USERS


def plain(path: str | Path) -> str:
    """The path, when it can stand in a .conf and in a flake's reference."""
    text = os.fspath(path)
    if not text.startswith("/") or not text.isascii() or REFUSED.search(text):
        raise DriverError(
            f'{text!r} cannot be given to a container: a path must be free of white space and of : $ % \\ ".'
        )
    return text


# ---- the .conf --------------------------------------------------------------------------------------------------------


def conf(name: str) -> Path | None:
    """Where its .conf is, None when there is no such container."""
    return next((place for root in CONFS if (place := root / f"{container(name)}.conf").exists()), None)


def conf_text(spec: Spec, private_users: bool) -> str:
    """PRIVATE_NETWORK=1 without addresses is `lo` and nothing else: any address, even unused, would add a veth pair."""
    lines = ["PRIVATE_NETWORK=1", "HOST_ADDRESS=", "LOCAL_ADDRESS=", "HOST_BRIDGE=", "HOST_PORT=", "COPY_RESOLV_CONF=0"]
    # Read by nothing: the daemon starts them, after it has made the sockets' directories.
    lines += ["AUTO_START=0", f"FLAKE=path:{plain(flakes.directory(spec.name))}"]
    flags = [*binds(spec)]
    if private_users:
        lines.append(f"PRIVATE_USERS={first_user(spec)}")
        # The start script names the users but leaves the root directory root's of the host.
        flags.append("--private-users-ownership=auto")
    return "\n".join([*lines, f'EXTRA_NSPAWN_FLAGS="{" ".join(flags)}"']) + "\n"


def binds(spec: Spec) -> list[str]:
    """Sources lie in directories of the host's alone, so that no agent can put a link in the place of one.

    The nix daemon's socket is bound by NixOS' start script and cannot be left out from here; its file is covered by
    /dev/null. That holds until nix-daemon.socket is restarted (a new file takes its place), and root inside may be able
    to lift it. With users of its own the daemon sees nobody it trusts, and `nix.settings.allowed-users` of the host
    shuts it out; without them root inside is the host's root to it, which is why that is isolation level C.
    The profile's directory is bound writable by the same script: a container can change what it boots next, never
    what other containers or the host do.
    """
    name = spec.name
    flags = [f"--bind-ro={plain(paths.socket_dir(name, spec.role))}:/run/hive"]
    for source, inside in (
        (paths.claude_dir(name), "/root/.claude"),
        (paths.journal_dir(name), "/var/lib/hive"),
        (paths.state_dir(name), "/state"),
        (paths.workspace_dir(name), "/workspace"),
    ):
        flags.append(f"--bind={plain(source)}:{inside}")
    if spec.role == "manager":
        flags.append(f"--bind={plain(paths.proposed_dir())}:/agents")
    return [*flags, "--bind-ro=/dev/null:/nix/var/nix/daemon-socket/socket"]


def write_conf(spec: Spec, private_users: bool) -> str:
    """Rewrite it in one step; the text that the next start will read."""
    place, text = conf(spec.name), conf_text(spec, private_users)
    if place is None:
        raise DriverError(f"nixos-container made no {container(spec.name)}.conf in {' or '.join(map(str, CONFS))}.")
    flakes.put(place, text.encode())
    return text


def ours() -> list[str]:
    """The agents that have a container built from a flake of this hive's."""
    mine = f"FLAKE=path:{settings.HIVE_STATE_DIR}/"
    found = []
    for root in CONFS:
        for place in root.glob(f"{PREFIX}*.conf") if root.is_dir() else ():
            with contextlib.suppress(OSError):
                if mine in place.read_text(errors="replace"):
                    found.append(place.stem.removeprefix(PREFIX))
    return sorted(found)


# ---- our own record ---------------------------------------------------------------------------------------------------


def record(name: str) -> dict[str, Any]:
    """What was brought in whole: fingerprint, toplevel; conf of the last start, `at` of its harness; what was built last."""
    return _read(paths.run_dir(name) / "nixos.json")


def remember(name: str, **facts: Any) -> None:
    flakes.put(paths.run_dir(name) / "nixos.json", json.dumps(record(name) | facts).encode())


def failure(name: str) -> dict[str, Any]:
    """The fingerprint that failed last, and its error."""
    return _read(paths.run_dir(name) / "failed.json")


def set_failure(name: str, fingerprint: str, error: str) -> None:
    flakes.put(paths.run_dir(name) / "failed.json", json.dumps({"fingerprint": fingerprint, "error": error}).encode())


def forget_failure(name: str, fingerprint: str) -> None:
    if failure(name).get("fingerprint") == fingerprint:
        (paths.run_dir(name) / "failed.json").unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
