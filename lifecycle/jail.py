"""Sandboxes for git alone, to read what an agent has written: no network, no capability, nothing to find, nothing to keep.

As root, bwrap makes the mounts and setpriv then becomes an ordinary user inside; as a plain user the sandbox has a user
namespace. Whoever ends bwrap ends all that it started, for it is the parent of a PID namespace.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import IO, Any

from .drivers.bwrap import become

# Read-only, where the host has them; nothing of /etc but what the loader of programs wants.
SYSTEM = ("/usr", "/nix/store", "/etc/ld.so.cache")
LINKS = ("bin", "lib", "lib32", "lib64", "libx32")
NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--unshare-net")
TOOLS = {"git": "git", "sh": "dash", "stat": "coreutils", "prlimit": "util-linux", "setpriv": "util-linux"}

# For each process. FSIZE cuts a pack short that is no configuration, CPU one that unpacks to gigabytes.
LIMITS = {"as": 512 << 20, "cpu": 5, "fsize": 4 << 20, "nofile": 256, "core": 0}
# Bytes of /q, the sandbox's only place to write to: it lives in memory and is gone with the sandbox.
ROOM = 16 << 20

# The whole environment, nothing is inherited (git(1), git-config(1)).
ENV = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "/bin/false",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "fd",
    "GIT_PROTOCOL_FROM_USER": "0",
}


class NoJail(Exception):
    """This machine cannot make one; the text is a sentence."""


def command(argv: list[str], uid: int, mounts: list[str]) -> list[str]:
    """bwrap, and inside it, within LIMITS and as `uid`, this. As a plain user `uid` is not looked at: we are who we are."""
    limits = [f"--{name}={most}" for name, most in LIMITS.items()]
    room = ["--perms", "1777", "--size", str(ROOM), "--tmpfs", "/q"]
    return [
        found("bwrap", "bubblewrap"), *NAMESPACES, *_rights(), "--new-session", "--die-with-parent", *_system(),
        *room, *mounts, "--remount-ro", "/", "--chdir", "/",
        "--", "prlimit", *limits, "--", *become(uid), *argv,
    ]  # fmt: skip


def _rights() -> list[str]:
    if os.geteuid() != 0:
        return ["--unshare-user", "--cap-drop", "ALL"]
    # What setpriv needs to become somebody else, and drops for good.
    return [
        "--cap-drop",
        "ALL",
        *(word for cap in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{cap}")),
    ]


def _system() -> list[str]:
    args = [word for place in SYSTEM if os.path.exists(place) for word in ("--ro-bind", place, place)]
    for name in LINKS:
        if os.path.islink(f"/{name}"):
            args += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            args += ["--ro-bind", f"/{name}", f"/{name}"]
    return [*args, "--proc", "/proc", "--dev", "/dev"]


def environment(settings: dict[str, str], **more: str) -> dict[str, str]:
    """The environment of a sandbox, with `settings` as git's configuration: as strong as -c, and for every git in it."""
    pairs = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        pairs |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    # By the directories that they really are in: NixOS has links to them that do not exist inside.
    directories = {os.path.dirname(os.path.realpath(found(tool, debian))) for tool, debian in TOOLS.items()}
    return {"PATH": ":".join(sorted(directories)), **ENV, **pairs, **more}


def found(tool: str, debian: str) -> str:
    path = shutil.which(tool)
    if not path:
        raise NoJail(
            f"Commits of agents are fetched in a sandbox, which needs {tool}: install {debian}, or run bin/setup."
        )
    return path


@contextlib.contextmanager
def running(argv: list[str], env: dict[str, str], **pipes: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """The sandbox, and at the end of the block all that is in it killed and waited for."""
    with subprocess.Popen(argv, env=env, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                _close(pipe)


def _close(pipe: IO[bytes] | None) -> None:
    # What was not sent any more cannot be flushed either.
    with contextlib.suppress(OSError):
        if pipe:
            pipe.close()
