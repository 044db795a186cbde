"""The daily budget: who has spent it begins no turn before midnight UTC, unless the operator lets it go on.

It is looked at where a message is claimed, so a turn that runs is never cut short by it: `max_budget_usd` is for that.
The cost is what the agent's own harness says: it bounds an agent that means well, not one in an attacker's hands.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from agents.models import Event
from broker import hot
from broker.events import publish_on_commit

from .models import Container

# Walks back over today's turns alone, however many there were before.
COST = """
    SELECT COALESCE(SUM(cost_usd), 0) FROM agents_turn WHERE agent = :name AND number > COALESCE(
        (SELECT number FROM agents_turn WHERE agent = :name AND started_at < :midnight ORDER BY number DESC LIMIT 1), 0
    )
"""


def midnight() -> datetime:
    """The one that today began with."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)


def spent(name: str) -> bool:
    """Whether it is; found for the first time, it is written into the agent's row and told."""
    [(cost,)] = hot.rows(COST, name=name, midnight=hot.stored(midnight()))
    if cost < settings.HIVE_DAILY_BUDGET_USD:
        return False
    rows = Container.objects.filter(name=name).exclude(let_on=midnight().date())
    held = rows.update(held_until=midnight() + timedelta(days=1), held_at=timezone.now())
    if held:
        said = (
            f"${cost:.2f} of ${settings.HIVE_DAILY_BUDGET_USD:g} are spent today: no turn begins before midnight UTC."
        )
        Event.of_host(name, "budget", {"text": said, "cost_usd": cost, "budget_usd": settings.HIVE_DAILY_BUDGET_USD})
        publish_on_commit("containers", f"agent:{name}")
    return bool(held)
