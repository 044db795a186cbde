"""A result that comes later, told at once."""

import asyncio
from typing import Any

import pytest

from broker.later import Later


@pytest.fixture
async def later() -> Later:
    return Later(asyncio.get_running_loop())


async def test_its_callbacks_are_called_at_once_and_in_their_order(later: Later) -> None:
    told: list[Any] = []
    later.add_done_callback(lambda done: told.append(done.result()))
    later.add_done_callback(lambda _: told.append("then"))
    later.set_result("one")
    later.add_done_callback(lambda _: told.append("late"))
    assert told == ["one", "then", "late"]


async def test_a_callback_that_fails_keeps_nobody_from_hearing(later: Later) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    later.add_done_callback(lambda _: 1 / 0)
    later.add_done_callback(lambda _: told.append("told"))
    later.set_result("one")
    assert isinstance(told[0], ZeroDivisionError)
    assert told[1:] == ["told"]


async def test_it_is_awaited_like_a_future(later: Later) -> None:
    asyncio.get_running_loop().call_soon(later.set_result, "one")
    assert await later == "one"
    assert await later == "one"
    failed = Later(asyncio.get_running_loop())
    asyncio.get_running_loop().call_soon(failed.set_exception, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await failed


async def test_who_goes_away_cancels_it_and_a_result_comes_once(later: Later) -> None:
    waiting = asyncio.ensure_future(later)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert later.cancelled()
    assert not later.cancel()
    with pytest.raises(asyncio.CancelledError):
        later.result()
    with pytest.raises(AssertionError):
        later.set_result("too late")
