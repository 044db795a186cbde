"""What an agent has on disk: counted, so that whoever destroys it knows what goes. Nothing of it is opened."""

import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import paths, safe_fs

# Entries that are counted, and levels that are gone down: an agent decides how many there are.
MOST, DEEPEST = 20_000, 40


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
    found, newest = Holding(what), 0.0
    for path, facts in safe_fs.walk(root, DEEPEST):
        found.files += 1
        # A file may say that it is longer than all that was ever written to it.
        found.bytes += min(facts.st_size, facts.st_blocks * 512)
        newest = max(newest, facts.st_mtime)
        if found.files >= MOST:
            found.more = True
            break
        found.more |= len(path) == DEEPEST and stat.S_ISDIR(facts.st_mode)
    if newest:
        found.written_at = datetime.fromtimestamp(min(max(newest, 0), 32e9), UTC)
    return found
