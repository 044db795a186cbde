"""Long polls: each look costs a transaction, so none is made in vain, and none is missed."""

import asyncio
from typing import Any

import pytest

from broker import events
from broker.events import Taker, publish

NOTHING = {"messages": []}


@pytest.fixture(autouse=True)
async def loop() -> None:
    events.start(asyncio.get_running_loop())


class Box:
    """A mailbox whose looks are counted; a look takes a turn of the loop, as a job of the writer's does."""

    def __init__(self, topic: str):
        self.topic, self.looks, self.rows = topic, 0, []

    def look(self) -> Any:
        self.looks += 1
        return self.rows.pop(0) if self.rows else None

    def write(self, do: Any, whole: bool) -> asyncio.Future:
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: done.set_result(do()))
        return done

    def poll(self, seconds: float = 10) -> Taker:
        return Taker(self.topic, self.look, NOTHING, self.write, seconds)


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Box:
    return Box(f"inbox:{request.node.name}")


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_nothing_is_worth_a_look_only_until_something_is_published(box: Box) -> None:
    first = box.poll()
    await turns()
    second = box.poll()
    await turns()
    assert box.looks == 1, "the second poll knows that there is nothing"
    box.rows = ["one"]
    publish(box.topic)
    assert await asyncio.wait_for(first, 1) == "one"
    second.cancel()


async def test_what_is_published_while_somebody_looks_is_not_missed(box: Box) -> None:
    waiting = box.poll()
    events.wake([box.topic])
    await asyncio.sleep(0)
    box.rows = ["one"]  # just after the look that was under way
    assert await asyncio.wait_for(waiting, 1) == "one"


async def test_a_poll_takes_what_a_transaction_offers_and_only_one_does(box: Box) -> None:
    waiting = [box.poll() for _ in range(3)]
    await turns()
    box.rows = ["one", "two"]
    [(future, found)] = events.offer({box.topic})
    assert (future, found) == (waiting[0], "one")
    future.set_result(found)
    await turns()
    assert [future for future, _ in events.offer({box.topic})] == [waiting[1]]
    for future in waiting:
        future.cancel()


async def test_at_its_end_a_poll_looks_once_more_and_then_has_found_nothing(box: Box) -> None:
    waiting = box.poll(0.05)
    await turns()
    assert box.looks == 1
    assert await asyncio.wait_for(waiting, 1) == NOTHING
    assert box.looks == 2
    assert await asyncio.wait_for(box.poll(0), 1) == NOTHING


async def test_who_hangs_up_is_offered_nothing(box: Box) -> None:
    waiting = box.poll()
    await turns()
    waiting.cancel()
    box.rows = ["one"]
    assert list(events.offer({box.topic})) == []
    await turns()
    assert box.topic not in events._takers


async def test_a_look_that_fails_ends_the_poll(box: Box) -> None:
    box.look = lambda: 1 / 0  # type: ignore[method-assign]
    box.write = lambda do, whole: asyncio.ensure_future(asyncio.to_thread(do))  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(box.poll(), 1)
