"""Deadlines by the thousand: who is told, when, and how many at once."""

import asyncio

import pytest

from broker import due


class One:
    def __init__(self, fails: bool = False):
        self.late, self.fails = 0, fails

    def too_late(self) -> None:
        self.late += 1
        assert not self.fails


async def test_who_is_waited_for_in_vain_is_told_once_and_never_too_early() -> None:
    one, loop = One(), asyncio.get_running_loop()
    begun = loop.time()
    due.expect(one, 0.05)
    while not one.late:
        assert loop.time() < begun + 1
        await asyncio.sleep(0.001)
    assert loop.time() - begun >= 0.05
    await asyncio.sleep(0.05)
    assert one.late == 1


async def test_who_was_taken_out_is_told_nothing() -> None:
    one, other = One(), One()
    moment = due.expect(one, 0.02)
    due.expect(other, 0.02)
    moment.discard(one)
    await asyncio.sleep(0.1)
    assert (one.late, other.late) == (0, 1)


async def test_what_is_long_until_then_is_told_by_the_quarter_second() -> None:
    moments = {id(due.expect(One(), 60 + number / 1000)) for number in range(200)}
    assert len(moments) <= 2
    assert len({id(due.expect(One(), number / 50)) for number in range(1, 11)}) == 10


async def test_of_many_who_are_late_at_once_the_loop_is_told_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "TURN", 10)
    monkeypatch.setattr(due, "FINE", 10)  # so that all are of one moment
    some = [One() for _ in range(35)]
    for one in some:
        due.expect(one, 0.15)
    before, most = 0, 0
    async with asyncio.timeout(2):
        while before < 35:
            await asyncio.sleep(0)
            now = sum(one.late for one in some)
            before, most = now, max(most, now - before)
    assert most == 10


async def test_one_that_fails_keeps_nobody_else_waiting() -> None:
    failed: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    some = [One(fails=number % 2 == 0) for number in range(10)]
    for one in some:
        due.expect(one, 0.01)
    await asyncio.sleep(0.1)
    assert [one.late for one in some] == [1] * 10
    assert len(failed) == 5


async def test_another_loop_has_moments_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "FINE", 2)  # so that both are of one moment
    loops: list[asyncio.AbstractEventLoop] = []
    one = One()
    one.too_late = lambda: loops.append(asyncio.get_running_loop())  # type: ignore[method-assign]
    due.expect(one, 0.01)

    async def elsewhere() -> None:
        due.expect(one, 0.01)
        await asyncio.sleep(0.6)

    await asyncio.to_thread(asyncio.run, elsewhere())
    await asyncio.sleep(0.1)
    assert len(set(loops)) == 2
