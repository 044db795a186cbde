"""An agent's notes, the files under /state: listed and read without ever being led anywhere else.

Names and contents are the agent's; so may be links, FIFOs, devices, directories without end. What is no plain file of
one name is listed as what it is and not opened.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from broker.wire import Refused

from . import paths, safe_fs

MOST, DEEPEST = 500, 8  # entries that are listed, and levels that are gone down
LONGEST = 256 * 1024  # bytes of a note that is shown
LOOKED_AT = 20_000  # entries that are looked at for it


class Note(NamedTuple):
    """`what` is '' for a file that can be read, else why it is not."""

    path: str
    bytes: int
    at: datetime
    what: str


def listing(name: str) -> tuple[list[Note], bool]:
    """The notes, the newest first, and whether there are more than are listed."""
    found: list[Note] = []
    for seen, note in enumerate(walked(name)):
        found.append(note)
        if seen >= LOOKED_AT:
            break
    found.sort(key=lambda note: note.at, reverse=True)
    return found[:MOST], len(found) > MOST


def walked(name: str) -> Iterator[Note]:
    for path, facts in safe_fs.walk(paths.state_dir(name), DEEPEST):
        if not stat.S_ISDIR(facts.st_mode):
            yield _note(path, facts)
        elif len(path) >= DEEPEST:
            yield _note(path, facts, "a directory too deep to be shown")


def _note(path: tuple[str, ...], facts: os.stat_result, what: str = "") -> Note:
    name = "/".join(path)
    if not what:
        what = _kind(name, facts)
    # A clock that an agent set to the year 300000 is no date.
    with contextlib.suppress(ValueError, OverflowError):
        return Note(name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC), what)
    return Note(name, facts.st_size, datetime.fromtimestamp(0, UTC), what)


def _kind(name: str, facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return "a link, not followed"
    if not stat.S_ISREG(facts.st_mode):
        return "no plain file"
    if facts.st_nlink != 1:
        return "a file of several names, not opened"
    if facts.st_size > LONGEST:
        return "too long to be shown"
    return "" if name.isprintable() else "a name that cannot be written"


def read(name: str, path: str) -> str:
    """What a note says; Refused for anything that is not one."""
    try:
        return safe_fs.read(paths.state_dir(name), path, LONGEST).decode(errors="replace")
    except safe_fs.Unsafe as unsafe:
        raise Refused("refused", str(unsafe), "no_note") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no path"
        raise Refused("not_found", f"{path[:200]!r} cannot be read: {why}.", "no_note") from None


def disk(name: str) -> int:
    """Bytes that its notes take, as far as they are looked at."""
    return sum(note.bytes for note, _ in zip(walked(name), range(LOOKED_AT), strict=False))
