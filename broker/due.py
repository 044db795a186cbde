"""Deadlines by the thousand, most of which are never met: each is an entry in the set of those of the same moment.

A timer of the loop for each would take three times the memory, and ten thousand moments instead of a few. It knows no Django.
"""

import asyncio
import math
from typing import NamedTuple, Protocol

# Moments in a second, and how many of them one is made of where it is long until then: nobody minds a quarter of a second.
FINE, COARSE, LONG = 100, 25, 2.0
# Of those whose time is over so many are told in one turn of the loop.
TURN = 64


class Late(Protocol):
    def too_late(self) -> None: ...


Moment = set[Late]


class Calendar(NamedTuple):
    """Of one loop: its moments by their number."""

    loop: asyncio.AbstractEventLoop | None
    moments: dict[int, Moment]


_calendar = Calendar(None, {})


def expect(one: Late, seconds: float) -> Moment:
    """Tell it after that many seconds, or a little more, that it is too late, unless it is taken out of the set before."""
    global _calendar
    loop, calendar = asyncio.get_running_loop(), _calendar
    if calendar.loop is not loop:
        # What another loop has in its own still comes: its timers hold it.
        _calendar = calendar = Calendar(loop, {})
    number = math.ceil((loop.time() + seconds) * FINE)
    if seconds >= LONG:
        number += -number % COARSE
    moment = calendar.moments.get(number)
    if moment is None:
        moment = calendar.moments[number] = set()
        loop.call_at(number / FINE, _come, calendar.moments, number)
    moment.add(one)
    return moment


def _come(moments: dict[int, Moment], number: int) -> None:
    """A few in each turn of the loop: of ten thousand that began together, the time is over for all at once."""
    moment = moments[number]
    try:
        for _ in range(min(len(moment), TURN)):
            moment.pop().too_late()
    finally:
        if moment:
            asyncio.get_running_loop().call_soon(_come, moments, number)
        else:
            del moments[number]
