"""What an agent has on disk: counted, so that whoever destroys it knows what goes. Nothing of it is opened."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import paths

MOST = 20_000  # entries that are counted: an agent decides how many there are


@dataclass
class Holding:
    """What is below one directory; `more` when not all of it was counted."""

    what: str
    files: int = 0
    bytes: int = 0
    written_at: datetime | None = None
    more: bool = False


def holdings(name: str) -> list[Holding]:
    """Of each directory that a purge removes."""
    places = {
        "its notes (/state)": paths.state_dir(name),
        "its files (/workspace)": paths.workspace_dir(name),
        "its Claude login and transcripts": paths.claude_dir(name),
    }
    return [counted(what, place) for what, place in places.items()]


def counted(what: str, root: Path) -> Holding:
    found, newest, directories = Holding(what), 0.0, [str(root)]
    while directories and not found.more:
        try:
            with os.scandir(directories.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
                    found.files += 1
                    found.bytes += status.st_size
                    newest = max(newest, status.st_mtime)
                    if found.files >= MOST:
                        found.more = True
                        break
        except OSError:  # it changes while we look, or is deeper than a path can say
            continue
    if newest:
        found.written_at = datetime.fromtimestamp(min(max(newest, 0), 32e9), UTC)
    return found
