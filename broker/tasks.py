"""Huey's hourly vacuum, which also runs at start."""

import logging
import time

from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from .jobs import recorded
from .models import Message
from .writer import writer

log = logging.getLogger("hive.vacuum")

HOUR = 3600


def vacuum_now() -> int:
    """Delete what is past its retention, in batches of the one writer's, with a pause: no sender waits for it.

    The count, logged when not 0.
    """
    total = 0
    while deleted := writer.wait(Message.vacuum):
        total += deleted
        time.sleep(0.01)
    if total:
        log.info("vacuum: %d delivered messages past their retention removed", total)
    return total


@db_periodic_task(crontab(minute="0"))
@recorded("vacuum", HOUR)
def vacuum() -> str:
    return f"{vacuum_now()} delivered messages removed"
