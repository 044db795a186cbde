"""Huey's hourly jobs: the vacuum, which also runs at start, and a backup."""

import logging
import time

from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from . import backups
from .age import Age
from .jobs import recorded
from .models import Message
from .points import reached
from .writer import writer

log = logging.getLogger("hive.jobs")

HOUR = 3600
# Seconds that a batch may take before its commit, looked at after so many rows, and at least so many until the next.
LIMIT, STEP, PAUSE = 0.003, 20, 0.005


def vacuum_now() -> int:
    """Delete what is past its retention, in batches of the one writer's, with a pause: a sender waits for one of them.

    The count, logged when not 0.
    """
    writer.wait(Age.count)
    total = 0
    while True:
        begun = time.monotonic()
        deleted, more = writer.wait(_batch)
        total += deleted
        reached("vacuum.batch")
        if not more:
            break
        # At most half of the writer's time, however slow the disk is.
        time.sleep(max(PAUSE, time.monotonic() - begun))
    if total:
        log.info("vacuum: %d delivered messages past their retention removed", total)
    return total


def _batch() -> tuple[int, bool]:
    """As many rows as its time allows, by the disk and the length of the messages few or many; and whether there are more."""
    total, until = 0, time.monotonic() + LIMIT
    while (deleted := Message.vacuum(STEP)) == STEP:
        total += deleted
        if time.monotonic() > until:
            return total, True
    return total + deleted, False


@db_periodic_task(crontab(minute="0"))
@recorded("vacuum", HOUR)
def vacuum() -> str:
    return f"{vacuum_now()} delivered messages removed"


@db_periodic_task(crontab(minute="30"))
@recorded("backup", HOUR)
def backup() -> str:
    copy, gone = backups.make("hourly"), backups.prune()
    log.info("backup: %s; %d older ones removed", copy, len(gone))
    return f"{copy.name}, {copy.stat().st_size} bytes"
