"""One story told to a nixos-container, and the transcript of what can be seen of it.

Two implementations do the same when their transcripts are equal: per step whether it succeeded, its stdout, every command
that it ran, and afterwards all .conf files and profile links. Exit codes are left out: the real one's are errnos.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from .world import World

SYSTEM = "/nix/store/11111111111111111111111111111111-system"

# A word alone makes a command fail from there on, or mends it.
STEPS: list[str | tuple[str, ...]] = [
    ("list",), ("status", "h-a"), ("destroy", "h-a"), ("create", "bad name"), ("create", "h-abcdefghij"),
    ("create", "h-a", "--bogus"), ("create", "h-g", "--host-address", "10.1.1.1"), ("create",), (),
    ("create", "h-a", "--flake", "path:/x/a", "--option", "cores", "2", "--auto-start"),
    ("create", "h-a", "--flake", "path:/x/a"), ("status", "h-a"), ("start", "h-a"), ("status", "h-a"),
    ("update", "h-a"), ("run", "h-a", "--", "sh", "-c", "echo it's $HOME"), ("show-ip", "h-a"), ("list",),
    # A build that fails: create leaves its .conf behind, update leaves all as it was.
    "fail nix", ("update", "h-a"), ("create", "h-b", "--flake", "path:/x/b#other"),
    ("create", "h-b", "--flake", "path:/x/b#other"), "mend nix",
    # The attribute is not written down.
    ("update", "h-b"), ("update", "h-b", "--flake", "path:/x/b#other"),
    "fail nix-env", ("update", "h-a"), ("create", "h-c", "--flake", "path:/x/c"),
    ("create", "h-d", "--config", "services.x.enable = true;"), "mend nix-env",
    ("create", "h-e", "--system-path", SYSTEM),
    ("create", "h-f", "--host-address", "10.1.1.1", "--local-address", "10.1.1.2", "--port", "tcp:80:80", "--bridge", "br0",
     "--flake", "path:/x/f"),
    # What we do about a reload that failed.
    ("update", "h-a", "--flake", "path:/x/a2"), "fail systemctl-reload", ("update", "h-a", "--flake", "path:/x/a3"),
    "mend systemctl-reload",
    "fail systemctl-start", ("restart", "h-a"), ("start", "h-a"), "mend systemctl-start", ("start", "h-a"),
    ("restart", "h-a"), ("stop", "h-a"), ("stop", "h-a"), ("update", "h-a", "--config", "x", "--config-file", "y"),
    ("start", "h-b"), ("terminate", "h-b"), ("destroy", "h-b"), ("destroy", "h-b"), ("start", "h-b"),
    ("nonsense", "h-a"), ("start", "h-a"), ("destroy", "h-a"), ("status", "h-a"),
    ("create", "h-x", "--ensure-unique-name", "--flake", "path:/x/x"),
    ("create", "h-x", "--ensure-unique-name", "--flake", "path:/x/x"), ("list",),
    # As the driver calls it.
    ("create", "h-y", "--flake", "path:/s/y", "--option", "extra-experimental-features", "nix-command flakes"),
    ("update", "h-y", "--flake", "path:/s/y", "--option", "extra-experimental-features", "nix-command flakes"),
]  # fmt: skip


def told(world: World, command: list[str], most: int | None = None) -> list[str]:
    """The transcript, a line of JSON per step; of the first `most` steps alone when that is given."""
    lines: list[str] = []
    for step in STEPS[:most]:
        if isinstance(step, str):
            verb, what = step.split(" ")
            {"fail": world.fail, "mend": world.mend}[verb](what)
        else:
            lines.append(json.dumps(_step(world, command, step)))
    return lines


def _step(world: World, command: list[str], step: tuple[str, ...]) -> dict:
    world.forget()
    cwd = world.place / "cwd"
    cwd.mkdir(exist_ok=True)
    done = subprocess.run(
        [*command, *step],
        env=world.env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )
    calls = [[_bare(word, world) for word in call] for call in world.calls()]
    link = os.readlink(cwd / ".tmp") if (cwd / ".tmp").is_symlink() else ""
    facts = {"step": step, "ok": done.returncode == 0, "stdout": done.stdout, "calls": calls, "left": link}
    return facts | {"files": _files(world)}


def _bare(word: str, world: World) -> str:
    """Without what differs from one run or machine to the next: our directories, pids, where `su` is."""
    word = word.replace(str(world.root), "")
    word = re.sub(r"^/.*/su$", "su", word)
    return "PID" if word.isdecimal() and len(word) > 1 else word


def _files(world: World) -> dict[str, str]:
    found = {}
    for below in ("etc/nixos-containers", "nix/var/nix/profiles/per-container"):
        for entry in sorted((world.root / below).rglob("*")):
            if entry.is_symlink():
                found[str(entry.relative_to(world.root))] = "-> " + os.readlink(entry)
            elif entry.is_file():
                found[str(entry.relative_to(world.root))] = entry.read_text()
    return found


def in_sandbox(world: World, real: Path) -> list[str]:
    """The real script where /etc/nixos-containers and the like are the world's, and the machine's own are out of reach."""
    args = ["bwrap", "--tmpfs", "/", "--proc", "/proc", "--dev", "/dev"]
    for name in ("usr", "bin", "sbin", "lib", "lib64"):
        if os.path.exists(f"/{name}"):
            args += ["--ro-bind", f"/{name}", f"/{name}"]
    for place in (sys.prefix, sys.base_prefix, Path(__file__).parent, real, "/etc/perl", "/etc/passwd", "/nix/store"):
        if os.path.exists(place):
            args += ["--ro-bind", str(place), str(place)]
    args += ["--bind", str(world.place), str(world.place), "--dir", "/run/lock"]
    for below in ("etc/nixos-containers", "var/lib/nixos-containers", "nix/var"):
        (world.root / below).mkdir(parents=True, exist_ok=True)
        args += ["--bind", str(world.root / below), f"/{below}"]
    return [*args, "--chdir", str(world.place / "cwd"), "--", str(real)]
