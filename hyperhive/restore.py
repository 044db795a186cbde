"""`hive restore PATH`: a backup takes the database's place while no hive runs; what was there is kept aside."""

import os
import sqlite3
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from broker import backups
from broker.points import reached
from broker.wire import Refused

from . import state
from .state import CannotStart

PARTS = ("", "-wal", "-shm")


def restore(source: Path) -> dict[str, str | None]:
    """Refused, and nothing changed, when it is no whole backup, is newer than this hyperhive, or the hive runs."""
    home = settings.HIVE_STATE_DIR
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = state.lock(home / "lock")
    except CannotStart:
        raise Refused("conflict", f"A hive runs on {home}: stop it first, then restore.", "running") from None
    except OSError as error:
        raise Refused("refused", f"{error.filename}: {error.strerror}.", "no_state") from None
    try:
        fresh = _checked(source, home / "hive.sqlite3.new")
        aside = _keep_aside(home)
        _swap(home, fresh)
    finally:
        os.close(lock)
    return {"restored": str(source), "aside": str(aside) if aside else None}


def _checked(source: Path, fresh: Path) -> Path:
    """Its own copy of the backup, with what its log still holds, on disk and known to be whole."""
    if not source.is_file():
        raise Refused("not_found", f"There is no file {source}.", "no_backup")
    fresh.unlink(missing_ok=True)
    try:
        plain = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
        try:
            found = plain.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            plain.execute("VACUUM INTO ?", [str(fresh)])
        finally:
            plain.close()
        wrong = backups.damage(fresh)
    except sqlite3.DatabaseError as error:
        wrong = str(error)
    if not wrong and (later := state.ahead(fresh)):
        wrong = f"a newer hyperhive wrote it, {later} is not known here"
    if wrong:
        fresh.unlink(missing_ok=True)
        raise Refused("refused", f"{source} cannot be restored ({wrong}). Nothing was changed.", "bad_backup")
    fresh.chmod(0o600)
    backups.sync(fresh)
    return fresh


def _keep_aside(home: Path) -> Path | None:
    """The database with its log under second names, so that at no moment it is anywhere by half."""
    parts = [home / f"hive.sqlite3{part}" for part in PARTS if (home / f"hive.sqlite3{part}").exists()]
    if not parts:
        return None
    aside = home / "replaced" / f"{timezone.now():%Y%m%d-%H%M%S-%f}"
    aside.mkdir(mode=0o700, parents=True)
    for part in parts:
        os.link(part, aside / part.name)
    backups.sync(aside)
    reached("restore.aside")
    return aside


def _swap(home: Path, fresh: Path) -> None:
    """The old log must be gone before the new database is there: SQLite would write it into that."""
    for part in PARTS:
        (home / f"hive.sqlite3{part}").unlink(missing_ok=True)
        reached(f"restore.removed{part}")
    backups.sync(home)
    fresh.replace(home / "hive.sqlite3")
    backups.sync(home)
    state.mark(home)
    reached("restore.done")
