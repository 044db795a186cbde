"""An agent's vital signs: what it uses of the machine, of its model's context and of the operator's money."""

from typing import Any

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.utils import timezone

from agents.lines import at, said
from agents.models import Agent, Event, Login, Turn
from lifecycle import vitals
from lifecycle.models import Container

from . import plots

# Tokens that a model takes at most; those with [1m] in their name take more.
CONTEXT, LONG_CONTEXT = 200_000, 1_000_000


def signs(name: str) -> dict[str, Any]:
    """What the panel of vital signs shows."""
    row = Container.objects.filter(name=name).first()
    now = row.now() if row else None
    return {
        "name": name,
        "row": row,
        "now": now,
        "agent": Agent.objects.filter(name=name).first(),
        "login": Login.of(name),
        "today": today(name),
        "budget": settings.HIVE_DAILY_BUDGET_USD,
        "context": context_fill(name),
        "processes": vitals.count(name) if now and now.pid else 0,
        "series": [
            ("cpu", "percent", vitals.cpu(name)),
            ("memory", "size", vitals.memory(name, plots.as_bytes(row.config.get("memory_max")) if row else 0)),
            ("notes", "size", vitals.disk(name)),
        ],
    }


def today(name: str) -> dict[str, Any]:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    turns = Turn.objects.filter(agent=name, started_at__gte=midnight)
    failed = Q(ended_at__isnull=False) & ~Q(outcome="ok")
    return turns.aggregate(count=Count("pk"), failed=Count("pk", filter=failed), cost=Sum("cost_usd", default=0))


def context_fill(name: str) -> dict[str, int] | None:
    """How full the model's context was at its last request, which its newest answer tells."""
    newest = Event.objects.filter(agent=name, kind="assistant").order_by("-seq")[:5]
    for event in newest:
        usage = at(event.payload, "message", "usage")
        if isinstance(usage, dict):
            names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            used = sum(usage[each] for each in names if isinstance(usage.get(each), int))
            most = LONG_CONTEXT if "[1m]" in said(at(event.payload, "message", "model")) else CONTEXT
            if used > 0:
                return {"used": used, "most": most, "percent": min(100, 100 * used // most)}
    return None
