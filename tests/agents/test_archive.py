"""An agent's events stay within their budget; what is older is in files, to the last one, and a row says so."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from agents import archive
from agents.lines import line
from agents.models import Agent, Event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def state(tmp_path: Path, settings: Any) -> None:
    settings.HIVE_STATE_DIR = tmp_path
    settings.HIVE_EVENTS_BYTES = 4 * archive.CHUNK


def stream(agent: Agent, count: int, length: int = 50_000) -> None:
    rows = [
        {
            "seq": agent.seq + n,
            "turn": "t",
            "at": timezone.now(),
            "kind": "user",
            "payload": {"text": "x" * length, "n": n},
        }
        for n in range(1, count + 1)
    ]
    Event.take_over(agent, rows)


def brought_within() -> None:
    while names := archive.over_budget():
        moved = archive.move(names[0])
        assert moved
        archive.drop(moved)


def filed(agent: str) -> list[int]:
    lines = [row for path in archive.folder(agent).iterdir() for row in gzip.decompress(path.read_bytes()).splitlines()]
    return [json.loads(row)["seq"] for row in lines]


def test_the_oldest_go_to_a_file_and_one_row_says_how_many() -> None:
    agent = Agent.objects.create(name="scout")
    stream(agent, 150)
    brought_within()
    first, *kept = Event.objects.filter(agent="scout")
    assert first.kind == "gap"
    assert filed("scout") == list(range(1, first.seq + 1))
    assert [event.seq for event in kept] == list(range(first.seq + 1, 151))
    assert first.payload["moved"] == first.seq
    assert f"{first.seq} older events" in line(first).text
    agent.refresh_from_db()
    assert agent.bytes == sum(archive.size(event.payload) for event in kept) <= 4 * archive.CHUNK


def test_it_goes_on_where_it_left_off_with_one_gap_row() -> None:
    agent = Agent.objects.create(name="scout")
    for _ in range(3):
        stream(agent, 120)
        brought_within()
        agent.refresh_from_db()
    first, *kept = Event.objects.filter(agent="scout")
    assert filed("scout") == list(range(1, first.seq + 1)), "each once, in order"
    assert (first.kind, first.payload["moved"], kept[0].kind) == ("gap", first.seq, "user")
    assert agent.seq == 360


def test_a_crash_before_the_rows_are_dropped_loses_none() -> None:
    agent = Agent.objects.create(name="scout")
    stream(agent, 150)
    archive.move("scout")
    brought_within()
    first = Event.objects.filter(agent="scout")[0]
    assert sorted(set(filed("scout"))) == list(range(1, first.seq + 1))


def test_an_agent_within_its_budget_is_left_alone() -> None:
    stream(Agent.objects.create(name="scout"), 10)
    assert archive.over_budget() == []


def test_the_files_have_a_budget_too_and_the_oldest_days_go_first(settings: Any) -> None:
    agent = Agent.objects.create(name="scout")
    archive.folder("scout").mkdir(parents=True)
    for day in range(1, 6):
        (archive.folder("scout") / f"2020-01-0{day}.jsonl.gz").write_bytes(os.urandom(1 << 16))
    settings.HIVE_EVENTS_FILES_BYTES = 3 * (1 << 16)
    stream(agent, 120)
    brought_within()
    days = sorted(path.name[:10] for path in archive.folder("scout").iterdir())
    assert days[0] > "2020-01-02"
    assert "2020-01-05" in days
