"""The daily budget: who has spent it begins no turn until midnight UTC, or until the operator says so."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agents.lines import line
from agents.models import Agent, Event, Turn
from broker import hot
from lifecycle import budget
from lifecycle.models import Container

pytestmark = pytest.mark.django_db


@pytest.fixture
def scout(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Container:
    settings.HIVE_DAILY_BUDGET_USD = 5.0
    noon = timezone.now().replace(hour=12)
    monkeypatch.setattr(timezone, "now", lambda: noon)
    Agent.objects.create(name="scout", state="idle", seen_at=noon)
    return Container.objects.create(name="scout", driver="process", uid=40000, status="running")


def turn(number: int, cost: float, ago: timedelta = timedelta(0), agent: str = "scout") -> None:
    Turn.objects.create(
        id=f"{agent}-{number}", agent=agent, number=number, started_at=timezone.now() - ago, cost_usd=cost
    )


def told() -> list[str]:
    return [line(event).text for event in Event.objects.filter(kind="budget")]


def test_who_has_spent_it_takes_no_message_and_says_why_once(scout: Container) -> None:
    turn(1, 100, timedelta(days=1))
    turn(1, 100, agent="forge")
    turn(2, 3)
    assert not Container.takes_no_message("scout")
    turn(3, 2.5)
    assert [Container.takes_no_message("scout") for _ in range(3)] == [True] * 3
    assert told() == ["$5.50 of $5 are spent today: no turn begins before midnight UTC."]
    scout.refresh_from_db()
    state, since, why = scout.state()
    assert (state, since) == ("paused", timezone.now())
    assert "'hive resume scout'" in why
    assert scout.as_json()["held_until"].endswith("T00:00:00+00:00")


def test_the_operator_lets_it_go_on_for_the_day(scout: Container) -> None:
    turn(1, 9)
    assert Container.takes_no_message("scout")
    Container.named("scout").resume()
    turn(2, 9)
    assert not Container.takes_no_message("scout")
    assert Container.named("scout").state()[0] == "idle"
    Container.objects.update(let_on=timezone.now().date() - timedelta(days=1))
    assert Container.takes_no_message("scout"), "on the next day its budget counts again"


def test_to_resume_who_was_only_paused_leaves_the_budget_as_it_is(scout: Container) -> None:
    scout.pause()
    scout.resume()
    turn(1, 9)
    assert Container.takes_no_message("scout")


def test_after_midnight_it_goes_on_by_itself(scout: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    turn(1, 9)
    assert Container.takes_no_message("scout")
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)
    Container.objects.update(held_until=budget.midnight() - timedelta(days=2))
    assert not Container.takes_no_message("scout")
    assert Container.named("scout").state()[0] == "idle"


def test_without_a_budget_nothing_is_counted(scout: Container, settings: Any) -> None:
    settings.HIVE_DAILY_BUDGET_USD = 0
    turn(1, 1e6)
    assert not Container.takes_no_message("scout")


def test_only_todays_turns_are_walked_over() -> None:
    """By the index of an agent's numbers, from the newest on."""
    with connection.cursor() as cursor:
        plan = cursor.execute(f"EXPLAIN QUERY PLAN {budget.COST}", {"name": "scout", "midnight": hot.now()}).fetchall()
    steps = [row[3] for row in plan]
    assert any("(agent=? AND number>?)" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in steps), steps
