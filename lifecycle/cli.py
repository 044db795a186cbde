"""Finds the Claude CLI that the agents are given, and says in a sentence when there is none or it is too old."""

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from agents.cli import FLOOR, WANTED, parse

TRIES = 2


class NoClaude(Exception):
    """There is no CLI to give to an agent; the text says what to do."""


def find() -> Path:
    """HIVE_CLAUDE, else what bin/setup installed, else `claude` on PATH: the file itself, not a link to it."""
    if settings.HIVE_CLAUDE:
        return _file(settings.HIVE_CLAUDE, "HIVE_CLAUDE names")
    installed = settings.PROJECT / ".tools" / f"claude-{WANTED}" / "claude"
    if installed.exists():
        return _file(installed, "bin/setup left")
    if on_path := shutil.which("claude"):
        return _file(on_path, "PATH has")
    raise NoClaude(
        f"No Claude CLI was found: run bin/setup, which installs {WANTED}, or set HIVE_CLAUDE to a claude binary."
    )


def _file(path: str | Path, whence: str) -> Path:
    real = Path(os.path.realpath(path))
    if not real.is_file() or not os.access(real, os.X_OK):
        raise NoClaude(f"{whence} {path}, which is no program: run bin/setup, or set HIVE_CLAUDE to a claude binary.")
    return real


def usable() -> Path:
    """The CLI for a new container; NoClaude also when it is older than the oldest that is known to work."""
    path = find()
    version = _version(path, path.stat().st_mtime_ns)
    if parse(version) < parse(FLOOR):
        raise NoClaude(f"{path} is Claude CLI {version}, older than {FLOOR}: run bin/setup, which installs {WANTED}.")
    return path


def version() -> str:
    """Of the CLI that a new container would get."""
    path = find()
    return _version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _version(path: Path, _changed_at: int) -> str:
    """Asked a second time before it is given up: an agent whose start failed is not started again by itself."""
    why = ""
    for _ in range(TRIES):
        try:
            said = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                env={"PATH": os.defpath, "HOME": "/nonexistent"},
            )  # fmt: skip
            parse(said.stdout)
            return said.stdout.split()[0]
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
        except (ValueError, IndexError):
            why = f"exit code {said.returncode}, {(said.stdout + said.stderr).strip()[:200]!r}"
    raise NoClaude(f"{path} does not tell its version ({why}): run bin/setup, or set HIVE_CLAUDE to a claude binary.")


def warning() -> str:
    """One sentence for the start of the daemon; '' when the wanted CLI is there."""
    try:
        usable()
        found = version()
    except NoClaude as no:
        return str(no)
    return "" if found == WANTED else f"Claude CLI {found} is used; hyperhive is tested with {WANTED} (run bin/setup)."
