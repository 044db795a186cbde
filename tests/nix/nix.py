"""Asks Nix what our modules come to. Without flakes, a store or a network; HIVE_NIXPKGS names a real nixpkgs to use."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
OPEN = Path(__file__).with_name("open.nix")
REAL = os.environ.get("HIVE_NIXPKGS", "")
FLAKES = ("--extra-experimental-features", "nix-command flakes", "--option", "flake-registry", "")
# A store elsewhere is built in a chroot, which has nothing but what is named here.
SANDBOX = ("--option", "sandbox", "true", "--option", "sandbox-paths", "/bin /lib /lib64? /usr")
ALONE = ("--option", "substituters", "", "--option", "build-users-group", "", *SANDBOX)


class Refused(Exception):
    """Nix said no; the text is what it said."""


def evaluate(expression: str, project: Path = PROJECT) -> Any:
    """The value of an expression that sees what open.nix offers: self, lib, host, agent, manager."""
    opened = f'import {OPEN} {{ project = "{project}"; real = "{REAL}"; }}'
    words = (
        "nix-instantiate",
        "--eval",
        "--strict",
        "--json",
        "--readonly-mode",
        "--expr",
        f"with {opened}; {expression}",
    )
    return json.loads(said(words, NIX_REMOTE="dummy://"))


def said(words: tuple[str, ...], **environment: str) -> str:
    """What a command of Nix prints; Refused when it fails."""
    with tempfile.TemporaryDirectory() as home:
        given = {"PATH": os.environ["PATH"], "HOME": home, "NIX_CONF_DIR": home} | environment
        done = subprocess.run(words, env=given, capture_output=True, text=True, timeout=100)
    if done.returncode:
        raise Refused(re.sub(r"\x1b\[[0-9;]*m", "", done.stderr))
    return done.stdout


def copy(to: Path) -> Path:
    """What of the project Nix reads, to be changed or to be a flake."""
    to.mkdir(parents=True)
    for file in ("flake.nix", "pyproject.toml"):
        shutil.copy(PROJECT / file, to)
    shutil.copytree(PROJECT / "nix", to / "nix", ignore=shutil.ignore_patterns("__pycache__"))
    return to


def changed(project: Path, file: str, old: str, new: str) -> None:
    """Write something else into one file, once; the test is wrong where there is nothing to replace."""
    text = (project / file).read_text()
    assert old in text, f"{file} has no {old!r}"
    (project / file).write_text(text.replace(old, new, 1))
