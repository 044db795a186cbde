"""Huey's housekeeping for containers: stale ones are made anew, logs that grew too long are cut to their end."""

import os

from django.conf import settings
from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from . import paths, update
from .models import Container

# Bytes.
MOST, KEPT = 16 * 1024 * 1024, 1024 * 1024


@db_periodic_task(crontab(minute="*/10"))
def auto_update() -> None:
    if settings.HIVE_AUTO_UPDATE:
        update.auto()


@db_periodic_task(crontab(minute="*/5"))
def trim_logs() -> None:
    for name in Container.objects.values_list("name", flat=True):
        trim(name)


def trim(name: str) -> bool:
    """Cut in place: the agent's processes have the file open for appending, so they write on behind what is kept."""
    try:
        with open(paths.run_dir(name) / "log", "r+b") as log:
            size = os.fstat(log.fileno()).st_size
            if size <= MOST:
                return False
            log.seek(size - KEPT)
            end = log.read(KEPT)
            log.seek(0)
            log.truncate()
            log.write(end)
    except FileNotFoundError:
        return False
    return True
