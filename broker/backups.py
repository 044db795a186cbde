"""Copies of the database, made while the hive goes on, each checked before it bears its name; and which of them to keep.

KIND-NUMBER-DATE-TIME.sqlite3 in STATE/backups: they are ordered by their number, because a clock may be set back.
"""

import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from . import disk
from .points import reached
from .wire import Refused
from .writer import explain

# How many of the hourly copies are kept: the newest, and before these one of each day.
HOURLY, DAILY = 24, 7
NAME = re.compile(r"([a-z-]+)-(\d{6})-(\d{8})-(\d{6})\.sqlite3")

_one_at_a_time = threading.Lock()


def directory() -> Path:
    return settings.HIVE_STATE_DIR / "backups"


def make(kind: str) -> Path:
    """A copy in the state directory: `hive` when somebody asked for it, `hourly`, or `before-migration`."""
    with _one_at_a_time:
        place = directory()
        place.mkdir(mode=0o700, exist_ok=True)
        for half in place.glob("*.part"):  # whoever made it was killed
            half.unlink()
        number = max(map(_number, place.iterdir()), default=0) + 1
        target = place / f"{kind}-{number:06}-{timezone.now():%Y%m%d-%H%M%S}.sqlite3"
        copy(target)
        return target


def copy(target: Path) -> None:
    """All of the database as it is now, in one file; Refused when it cannot be written or is not whole. Never half of it."""
    half = target.with_name(f"{target.name}.part")
    if target.parent.is_dir() and not disk.room_for_a_copy(target.parent):
        raise Refused("busy", f"There is no room for a copy of the database in {target.parent}.", "disk_full")
    try:
        half.unlink(missing_ok=True)
        # The one way that ends while others write; a plain copy misses what is in the log (sqlite.org/lang_vacuum.html).
        connection.cursor().execute("VACUUM INTO %s", [str(half)])
        reached("backup.written")
        half.chmod(0o600)
        sync(half)
        if wrong := damage(half):
            raise Refused("internal", f"The copy is not whole ({wrong}): the database is damaged.", "damaged")
        reached("backup.checked")
        half.replace(target)
        sync(target.parent)
        reached("backup.done")
    except (DatabaseError, OSError) as error:
        why = explain(error)
        raise (
            why if isinstance(why, Refused) else Refused("refused", f"{target} cannot be written: {why}.", "no_backup")
        ) from None
    finally:
        half.unlink(missing_ok=True)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage(database: Path) -> str:
    """What is wrong with a database that nobody writes, page by page; '' when nothing is."""
    try:
        plain = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            found = plain.execute("PRAGMA integrity_check(1)").fetchone()[0]
            plain.execute("SELECT 1 FROM django_migrations LIMIT 1")
        finally:
            plain.close()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else found


def prune() -> list[Path]:
    """Remove the hourly copies that are too many; what a person or a migration asked for stays. Those removed."""
    hourly = [path for path in newest_first() if path.name.startswith("hourly-")]
    days: dict[str, Path] = {}
    for path in hourly[HOURLY:]:
        days.setdefault(path.name.split("-")[2], path)
    kept = {*hourly[:HOURLY], *list(days.values())[:DAILY]}
    gone = [path for path in hourly if path not in kept]
    for path in gone:
        path.unlink()
        reached("backup.prune")
    return gone


def newest_first() -> list[Path]:
    return sorted(directory().glob("*.sqlite3"), key=lambda path: (_number(path), path.name), reverse=True)


def good() -> Iterator[Path]:
    """Those that are whole, the newest first; each is read to its end."""
    return (path for path in newest_first() if not damage(path))


def _number(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    return int(found[2]) if found else 0
