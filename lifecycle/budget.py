"""The daily budget: who has spent it begins no turn before midnight UTC, unless the operator lets it go on.

It is looked at where a message is claimed, so a turn that runs is never cut short by it: `max_budget_usd` is for that.
The cost is what the agent's own harness says: it bounds an agent that means well, not one in an attacker's hands.
"""

import json
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from broker import hot
from broker.events import publish_on_commit

# Walks back over today's turns alone, however many there were before.
COST = """
    SELECT COALESCE(SUM(cost_usd), 0) FROM agents_turn WHERE agent = :name AND number > COALESCE(
        (SELECT number FROM agents_turn WHERE agent = :name AND started_at < :midnight ORDER BY number DESC LIMIT 1), 0
    )
"""
# Raw, as a claim is: it may be on the event loop.
HOLD = """
    UPDATE lifecycle_container SET held_until = :until, held_at = :now
    WHERE name = :name AND COALESCE(let_on, '') <> :today RETURNING name
"""
TELL = """
    INSERT INTO agents_event (agent, seq, at, kind, payload) VALUES (
        :name, MIN(0, COALESCE((SELECT MIN(seq) FROM agents_event WHERE agent = :name), 0)) - 1, :now, 'budget', :payload
    )
"""


def midnight() -> datetime:
    """The one that today began with."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)


def spent(name: str) -> bool:
    """Whether it is; found for the first time, it is written into the agent's row and told."""
    today, now = midnight(), hot.stored(timezone.now())
    [(cost,)] = hot.rows(COST, name=name, midnight=hot.stored(today))
    if cost < settings.HIVE_DAILY_BUDGET_USD:
        return False
    until = hot.stored(today + timedelta(days=1))
    if not hot.rows(HOLD, name=name, until=until, now=now, today=str(today.date())):
        return False
    text = f"${cost:.2f} of ${settings.HIVE_DAILY_BUDGET_USD:g} are spent today: no turn begins before midnight UTC."
    payload = {"text": text, "cost_usd": cost, "budget_usd": settings.HIVE_DAILY_BUDGET_USD}
    hot.rows(TELL, name=name, now=now, payload=json.dumps(payload))
    publish_on_commit("containers", f"agent:{name}", "events", f"events:{name}")
    return True
