"""The hive's state directory: made, locked, and its database checked, copied aside and brought up to date."""

import errno
import fcntl
import logging
import os
import secrets
import sqlite3
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from broker import backups
from broker.points import reached
from broker.wire import Refused

log = logging.getLogger("hive")

# Exit codes of sysexits.h: a second daemon may try again later, a damaged database needs a person.
TEMPFAIL, CONFIG = 75, 78
# Below this a start would only move the failure into the middle of somebody's message.
FREE = 32 * 1024 * 1024


class CannotStart(Exception):
    """The hive cannot start; the text says what to do, `code` is the exit code."""

    def __init__(self, sentence: str, code: int = 1):
        super().__init__(sentence)
        self.code = code


def open_state() -> int:
    """Directories, lock, secret key and database, in that order; the lock's descriptor, held as long as the process lives."""
    state = settings.HIVE_STATE_DIR
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        _runtime_dir(settings.HIVE_RUNTIME_DIR)
        held = lock(state / "lock")
        _enough_room(state)
        _secret_key(state / "secret_key")
    except OSError as error:
        raise CannotStart(_sentence(error)) from None
    open_database(state)
    return held


def _sentence(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk that holds {settings.HIVE_STATE_DIR} is full: free some space, then start again."
    place = error.filename or settings.HIVE_STATE_DIR
    return f"{place}: {error.strerror}. Set HIVE_STATE_DIR or HIVE_RUNTIME_DIR to a directory of yours."


def _runtime_dir(path: Path) -> None:
    """Under /tmp somebody else may have been there first: the directory must be ours, and no link."""
    path.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise CannotStart(
            f"{path} belongs to somebody else or others can write to it: set HIVE_RUNTIME_DIR to another."
        )


def lock(path: Path) -> int:
    """One hive per state directory: the descriptor, which the kernel lets go of however the process ends."""
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise CannotStart(
            f"Another `hive serve` already runs on {path.parent}: use it, or set HIVE_STATE_DIR for a second hive.",
            TEMPFAIL,
        ) from None
    return held


def _enough_room(state: Path) -> None:
    disk = os.statvfs(state)
    if disk.f_bavail * disk.f_frsize < FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(state))


def _secret_key(path: Path) -> None:
    if not path.exists():
        write_new(path, secrets.token_urlsafe(48))
    settings.SECRET_KEY = path.read_text().strip()


def write_new(path: Path, text: str) -> None:
    """The whole file or none: written aside, synced, and moved into place."""
    aside = path.with_name(path.name + ".new")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


# ---- the database -----------------------------------------------------------------------------------------------------


def open_database(state: Path) -> None:
    """Check it, copy it aside where the code is newer, migrate it. The marker says that there once was one."""
    database = state / "hive.sqlite3"
    begun = (state / "marker").exists()
    if begun or (database.exists() and database.stat().st_size):
        _must_be_whole(database, begun)
        _must_not_be_newer(database)
    _migrate()
    mark(state)


def mark(state: Path) -> None:
    if not (state / "marker").exists():
        write_new(state / "marker", "This directory holds a hive: a missing database is a loss, not a fresh start.\n")


def _must_be_whole(database: Path, begun: bool) -> None:
    if not database.exists() or not database.stat().st_size:
        raise _damaged(database, "it is missing or empty")
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as plain:
            found = plain.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found == "ok" and begun and not _migrated(plain):
                found = "its tables are missing"
        plain.close()
    except sqlite3.DatabaseError as error:
        raise _damaged(database, str(error)) from None
    if found != "ok":
        raise _damaged(database, found)


def _damaged(database: Path, how: str) -> CannotStart:
    return CannotStart(f"The database {database} is damaged ({how}). Nothing was changed. {_advice()}", CONFIG)


def _advice() -> str:
    """Only what was read to its end is recommended."""
    for backup in backups.good():
        if not ahead(backup):
            return f"The newest good backup is {backup}: `hive restore {backup}` puts it in its place."
    return "There is no good backup of it."


def _must_not_be_newer(database: Path) -> None:
    if later := ahead(database):
        raise CannotStart(
            f"The database was written by a newer hyperhive ({later} is not known here). "
            f"Nothing was changed: update hyperhive. {_advice()}",
            CONFIG,
        )


def ahead(database: Path) -> str:
    """The first migration in it that this code does not know; '' when there is none."""
    known = set(MigrationLoader(None).disk_migrations or ())
    plain = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    try:
        applied = set(plain.execute("SELECT app, name FROM django_migrations")) if _migrated(plain) else set()
    finally:
        plain.close()
    return next((f"{app}.{name}" for app, name in sorted(applied - known)), "")


def _migrated(plain: sqlite3.Connection) -> bool:
    """Whether migrations were begun in it; a first start that was killed may have left it without."""
    return bool(plain.execute("SELECT 1 FROM sqlite_master WHERE name = 'django_migrations'").fetchone())


def _migrate() -> None:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not pending:
        return
    if executor.loader.applied_migrations:
        try:
            copy = backups.make("before-migration")
        except Refused as refusal:
            raise CannotStart(
                f"The database is of an older hyperhive and is copied before it is changed. {refusal}"
            ) from None
        log.info("the database is brought up to date; as it was it is kept in %s", copy)
    reached("migrate.copied")
    call_command("migrate", verbosity=0, interactive=False)
    reached("migrate.done")
