"""Huey nudges: it may lose a task, so the table says what is to be done and the daemon does it."""

from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from broker.events import publish

from .models import Approval


@db_periodic_task(crontab(minute="*"))
def nudge() -> None:
    Approval.expire()
    publish("approvals")
