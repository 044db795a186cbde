"""PAN1C: every turn ends now and none begins, until the operator lets them go on. Messages wait meanwhile."""

from datetime import datetime

from django.utils import timezone

from agents.models import Agent
from broker.events import publish_on_commit
from broker.models import Lease

from .models import Container


def stop_every_turn() -> tuple[list[str], list[str]]:
    """Who is paused by it, and whose turn ends."""
    resting = Container.running().filter(paused=False)
    paused = list(resting.values_list("name", flat=True))
    resting.update(paused=True, paused_at=timezone.now())
    ended = []
    for lease in Lease.objects.filter(recipient__in=Container.running().values("pk")):
        ended += [lease.recipient] * Agent.objects.filter(pk=lease.recipient).update(interrupt=lease.turn)
    _tell({*paused, *ended})
    return paused, ended


def go_on(since: datetime) -> list[str]:
    """Those go on who were paused at that very moment: whoever was paused before stays paused."""
    stopped = Container.objects.filter(paused=True, paused_at=since)
    names = list(stopped.values_list("name", flat=True))
    stopped.update(paused=False, paused_at=None)
    _tell(set(names))
    return names


def _tell(names: set[str]) -> None:
    for name in names:
        publish_on_commit(f"control:{name}", f"inbox:{name}", f"agent:{name}")
    publish_on_commit("containers")
