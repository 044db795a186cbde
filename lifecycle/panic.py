"""PAN1C: every turn ends now and none begins, until the operator lets them go on. Messages wait meanwhile."""

from collections.abc import Iterable
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
        found = Agent.objects.filter(pk=lease.recipient)
        ended += [lease.recipient] * found.update(interrupt=lease.turn, keep=True)
    _tell({*paused, *ended})
    return paused, ended


def told(paused: list[str], ended: list[str]) -> str:
    """The same in words."""
    return f"{len(ended)} turns end now, {len(paused)} agents are paused"


def since(running: Iterable[Container]) -> datetime | None:
    """When the panic began that is still on: everybody is paused, the last of them by it. None when there is none."""
    rows = list(running)
    at = [row.paused_at for row in rows if row.paused and row.paused_at]
    return max(at) if at and all(row.paused for row in rows) else None


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
