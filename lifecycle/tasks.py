"""Huey's housekeeping for containers: stale ones are made anew, logs that grew too long are cut to their end."""

import os

from django.conf import settings
from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from broker.jobs import recorded

from . import paths, update
from .models import Container

# Bytes.
MOST, KEPT = 16 * 1024 * 1024, 1024 * 1024


@db_periodic_task(crontab(minute="*/10"))
@recorded("auto-update", 600)
def auto_update() -> str:
    if not settings.HIVE_AUTO_UPDATE:
        return "switched off (HIVE_AUTO_UPDATE=0)"
    names = update.auto()
    return f"{', '.join(names)} made anew" if names else "nothing is stale"


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
