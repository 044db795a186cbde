"""Events as they are stored: the harness's own count up, what the host saw of an agent counts down."""

import pytest

from agents.models import Agent, Event
from broker.models import Lease

pytestmark = pytest.mark.django_db


def test_what_the_host_saw_stands_among_an_agents_events_and_moves_none_of_its_numbers():
    agent = Agent.objects.create(name="scout")
    row = {"turn": None, "at": "2026-11-22T20:14:02Z", "kind": "log", "payload": {}}
    Event.take_over(agent, [row | {"seq": 1}])
    Event.of_host("scout", "egress", {"text": "no"})
    Event.take_over(agent, [row | {"seq": 2}])
    Lease.hold("a-turn", "scout", 60)
    Event.of_host("scout", "egress", {"text": "no"})
    Event.of_host("other", "egress", {"text": "no"})
    found = Event.objects.filter(agent="scout").values_list("seq", "turn")
    assert list(found) == [(1, None), (-1, None), (2, None), (-2, "a-turn")]
    assert Agent.objects.get(name="scout").seq == 2
