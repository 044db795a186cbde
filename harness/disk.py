"""The journal's database at the start of a harness: made, migrated, and put aside when it is damaged."""

import logging
import time
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection

log = logging.getLogger("hive.journal")


def open_journal() -> None:
    """Bring the schema up to date; a database that cannot be read is kept beside a new one."""
    path = Path(str(settings.DATABASES["default"]["NAME"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _migrate()
    except OperationalError:
        # Locked, full, not to be opened: no fault of the rows.
        raise
    except DatabaseError as error:
        connection.close()
        # The host is the truth about delivery, and has every event it was told of.
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        log.error("The journal cannot be read (%s): it is kept as %s, a new one begins.", error, aside)
        path.rename(aside)
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        _migrate()
    connection.close()


def _migrate() -> None:
    with connection.cursor() as cursor:
        # Says at once what a read of some page later would.
        cursor.execute("PRAGMA quick_check(1)")
        if (said := cursor.fetchone()[0]) != "ok":
            raise DatabaseError(said)
        known = _applied(cursor)
    # Django's own look at the migrations takes longer than everything else at a start: only when there are new ones.
    if not _shipped() <= known:
        call_command("migrate", verbosity=0, interactive=False)


def _applied(cursor: Any) -> set[tuple[str, str]]:
    cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'django_migrations'")
    if cursor.fetchone() is None:
        return set()
    cursor.execute("SELECT app, name FROM django_migrations")
    return set(cursor.fetchall())


def _shipped() -> set[tuple[str, str]]:
    folders = {app.label: Path(app.path) / "migrations" for app in apps.get_app_configs()}
    return {(label, file.stem) for label, folder in folders.items() for file in folder.glob("[0-9]*.py")}
