"""The proposed repository of a fresh agent: one commented file, which says by itself how it is changed.

It is made where only the host can write and then handed over whole; the host never looks into it again.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import git

from . import names, paths, safe_fs
from .applied import ALONE, store
from .config import AgentConfig

PREFIX = ".seed."

GUIDE = """\
# How {agent} is set up. The hive reads this file from a commit, once the operator has said yes to it:
#
#   1. edit this file;  2. git commit -am "why";  3. call the tool request_apply_commit with the agent's name,
#      the sha that `git rev-parse HEAD` prints, and the reason.
#
# A commit holds this one file ({file}, at most 64 KiB of plain UTF-8) and nothing else. An agent that does not come up with
# what was applied gets back what it had. Below are the settings there are; each line begins with # and shows its default,
# or an example where it has none.
"""
# For those whose default says nothing.
EXAMPLES: dict[str, Any] = {
    "model": "sonnet",
    "prompt": "You review what others wrote.",
    "egress": ["docs.example.org", "mirror.example.org:8443"],
    "memory_max": "2G",
    "cpu_quota": "150%",
    "tasks_max": 512,
    "disk_max": "20G",
    "turn_timeout": 1800,
    "max_budget_usd": 2.5,
    "packages": ["jq"],
    "env": {"EDITOR": "vi"},
}


def seed(name: str, uid: int, wanted: str = "agent.toml", applied: str = "") -> None:
    """Put it into the agent's config directory, for that user to write to. Nothing is done where there is one already."""
    with safe_fs.opened(paths.config_dir(name), safe_fs.DIRECTORY) as place:
        if ".git" in os.listdir(place):
            return
        # In the same file system; the manager sees it there, but it is not in it before it is given.
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=paths.proposed_dir()))
        try:
            _make(made, wanted, text(name, wanted, applied))
            safe_fs.give(made, uid)
            # .git comes last: where it is, all is. A rename follows no link and enters no directory.
            for entry in (wanted, ".git"):
                with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                    os.rename(made / entry, entry, dst_dir_fd=place)
        finally:
            safe_fs.purge(made)


def sweep() -> None:
    """At the daemon's start: what a killed one left half made."""
    for left in paths.proposed_dir().glob(f"{PREFIX}*"):
        safe_fs.purge(left)


def _make(place: Path, file: str, content: str) -> None:
    with git.Repo.init(place, initial_branch="main", object_format="sha1", env=ALONE) as repo:
        (place / file).write_text(content)
        with repo.config_writer() as config:
            # Without these nobody could commit: there is no ~/.gitconfig in a container.
            config.set_value("user", "name", names.MANAGER)
            config.set_value("user", "email", f"{names.MANAGER}@hive.localhost")
        # As an entry, not as a path: for a path GitPython changes the directory of the whole process, and of two threads
        # that do so at once one leaves it in the other's, which is gone a moment later.
        repo.index.add([git.BaseIndexEntry((0o100644, store(repo, "blob", content.encode()), 0, file))])
        hive = git.Actor("hyperhive", "hive@localhost")
        repo.index.commit("The settings there are", author=hive, committer=hive, skip_hooks=True)


# ---- the text ---------------------------------------------------------------------------------------------------------


def text(name: str, wanted: str, applied: str = "") -> str:
    """What the file says: the guide, every key of AgentConfig as a comment, and what is applied already."""
    guide = GUIDE.format(agent=name, file=wanted)
    if wanted == "agent.nix":
        return f"{guide}#\n{_nix_keys()}\n" + (applied or "{ pkgs, lib, ... }:\n{\n}\n")
    return f"{guide}\n{_toml_keys()}" + (f"\n{applied}" if applied else "")


def _toml_keys() -> str:
    return "\n".join(f"# {about}\n# {key} = {_toml(value)}\n" for key, about, value in _keys())


def _nix_keys() -> str:
    return "".join(f"# hyperhive.{_camel(key)} = {_nix(value)};  # {about}\n" for key, about, value in _keys())


def _keys() -> list[tuple[str, str, Any]]:
    return [
        (key, field.description or "", EXAMPLES.get(key, field.default))
        for key, field in AgentConfig.model_fields.items()
    ]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def _nix(value: Any) -> str:
    """Of our own constants: JSON's strings are Nix's as long as they hold no $ and no \\."""
    if isinstance(value, dict):
        return "{ " + "".join(f"{key} = {json.dumps(one)}; " for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[ " + "".join(f"{json.dumps(one)} " for one in value) + "]"
    return json.dumps(value)


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.title() for word in rest)
