"""The journal's rows, and their replay to a host that comes, goes and forgets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.utils import timezone

from agents.models import Agent, Event, Turn
from broker.wire import LINE, Refused, encode
from broker.writer import Writer
from harness import diary
from harness import journal as journals
from harness.journal import Journal

pytestmark = pytest.mark.django_db(transaction=True)


class Host:
    """Takes events as the real one does."""

    def __init__(self, seq: int = 0):
        self.seq, self.rows, self.turns, self.lines = seq, [], [], []
        self.refusals: list[Refused] = []

    async def ask(self, verb: str, /, **params: Any) -> Any:
        if verb == "hello":
            return {"seq": self.seq, "number": 41}
        self.lines.append(len(encode(params)))
        if self.refusals:
            raise self.refusals.pop()
        for row in params["rows"]:
            if row["seq"] > self.seq + 1:
                raise Refused("conflict", "gap", "event_gap")
            if row["seq"] == self.seq + 1:
                self.rows.append(row)
                self.seq += 1
        self.turns += params["turns"]
        return {"seq": self.seq}


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    writer = Writer()
    writer.start()
    yield Journal("scout", writer)
    await asyncio.to_thread(writer.stop)


async def replayed(journal: Journal, host: Any, until: int) -> None:
    task = asyncio.create_task(journal.replay(host))
    async with asyncio.timeout(10):
        while host.seq < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


async def test_events_are_numbered_in_the_order_they_are_stored(journal: Journal) -> None:
    assert await asyncio.gather(*(journal.append("log", {"n": n}) for n in range(20))) == list(range(1, 21))


async def test_the_host_hears_everything_once_in_lines_that_the_wire_takes(journal: Journal) -> None:
    for number in range(30):
        await journal.append("user", {"text": "x" * 50_000, "number": number})
    host = Host()
    await journal.greet(host)  # type: ignore[arg-type]
    await replayed(journal, host, 30)
    assert [row["payload"]["number"] for row in host.rows] == list(range(30))
    assert max(host.lines) < LINE
    assert len(host.lines) < 12


async def test_what_comes_in_one_breath_is_told_in_one_call(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "BREATH", 0.5)
    host = Host()
    await journal.greet(host)  # type: ignore[arg-type]
    replaying = asyncio.create_task(replayed(journal, host, 10))
    for number in range(10):
        await journal.append("log", {"number": number})
    await replaying
    assert len(host.lines) <= 2


async def test_a_host_that_was_restored_from_a_backup_gets_again_what_it_lost(journal: Journal) -> None:
    for number in range(10):
        await journal.append("log", {"number": number})
    host = Host()
    await journal.greet(host)  # type: ignore[arg-type]
    await replayed(journal, host, 10)
    host.seq, host.rows = 4, []
    await journal.append("log", {"number": 10})
    await replayed(journal, host, 11)
    assert [row["seq"] for row in host.rows] == list(range(5, 12))


async def test_what_was_dropped_here_and_lost_there_is_shown_as_a_gap(journal: Journal) -> None:
    for number in range(10):
        await journal.append("log", {"number": number})
    await journal.write(lambda: Event.objects.filter(seq__lt=8).delete())
    host = Host(2)
    await journal.greet(host)  # type: ignore[arg-type]
    await replayed(journal, host, 10)
    assert [row["kind"] for row in host.rows] == ["gap"] * 5 + ["log"] * 3
    assert host.rows[0]["payload"] == {"skipped": 5}


async def test_a_lost_journal_goes_on_after_what_the_host_has(journal: Journal) -> None:
    host = Host(50)
    await journal.greet(host)  # type: ignore[arg-type]
    assert await journal.append("log", {}) == 52
    turn = Turn(pk="t", agent="scout", started_at=timezone.now())
    await journal.begin(turn, [])
    assert turn.number == 42


async def test_a_turn_is_told_with_its_events(journal: Journal) -> None:
    host = Host()
    await journal.greet(host)  # type: ignore[arg-type]
    turn = Turn(pk="t", agent="scout", started_at=timezone.now())
    await journal.begin(turn, [], ("wake", {}))
    await replayed(journal, host, 2)
    assert [told["number"] for told in host.turns] == [42]
    assert [row["turn"] for row in host.rows] == ["t", "t"]


async def test_what_the_host_has_heard_long_ago_is_dropped(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "KEPT", 20)
    for number in range(100):
        await journal.append("log", {"number": number})
    host = Host()
    await journal.greet(host)  # type: ignore[arg-type]
    await replayed(journal, host, 100)
    await journal.append("log", {})
    await replayed(journal, host, 101)
    kept = await journal.writer.write(lambda: list(Event.objects.values_list("seq", flat=True)))
    assert kept[-1] == 101
    assert len(kept) <= 30
    assert (await journal.writer.write(lambda: Agent.objects.get(name="scout").seq)) == 101


async def test_turns_left_open_are_closed_as_killed(journal: Journal) -> None:
    turn = Turn(pk="t", agent="scout", started_at=timezone.now())
    await journal.begin(turn, [])
    closed = await journal.write(lambda: diary.left_open("scout", timezone.now(), "killed"))
    assert [turn.outcome for turn in closed] == ["killed"]
    assert await journal.write(lambda: diary.left_open("scout", timezone.now(), "killed")) == []
    assert [turn.pk for turn in await journal.write(lambda: diary.unsettled("scout"))] == ["t"]


async def test_the_row_of_failures_is_counted_from_the_newest_turn(journal: Journal) -> None:
    for number, outcome in enumerate(["ok", "crashed", "mcp"]):
        turn = Turn(pk=str(number), agent="scout", started_at=timezone.now(), outcome=outcome)
        await journal.begin(turn, [])
    assert await journal.write(lambda: diary.failures_in_a_row("scout", ["crashed", "mcp"])) == 2
