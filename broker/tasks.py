"""Huey's hourly vacuum, which also runs at start."""

import logging
import time

from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from .models import Message

log = logging.getLogger("hive.vacuum")


def vacuum_now() -> int:
    """Delete what is past its retention, in batches with a pause so that no sender waits; the count, logged when not 0."""
    total = 0
    while deleted := Message.vacuum():
        total += deleted
        time.sleep(0.01)
    if total:
        log.info("vacuum: %d delivered messages past their retention removed", total)
    return total


@db_periodic_task(crontab(minute="0"))
def vacuum() -> None:
    vacuum_now()
