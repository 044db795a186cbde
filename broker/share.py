"""What one socket may have of a daemon that serves others too. It knows no Django."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from .jsonrpc import decode

# Of one socket's requests so many are done at once; and it rests so many times as long as the loop took to read them,
# once that has added up to a burst. Without it one agent's flood let the others wait for 1.7 s.
AT_ONCE = 2
REST, BURST = 8.0, 0.25


class Share:
    """Over all the connections of one socket: so many requests at once, and a rest after those that were dear."""

    __slots__ = ("_next", "_rested", "_waiting", "places")

    def __init__(self, at_once: int = AT_ONCE):
        self.places = at_once
        self._waiting: list[Callable[[], None]] = []  # a deque would be ten times as big, and few ever wait
        self._next: asyncio.Handle | None = None
        self._rested = 0.0

    def rest(self) -> float:
        """Seconds until it may have its next line read."""
        return max(0.0, self._rested - BURST - time.monotonic())

    def read(self, line: bytes, more: float = 0.0) -> dict[str, Any]:
        """`decode(line)`; what is dear to read is dear to do, so a rest follows.

        `more` are the seconds of the loop that it is known to cost besides.
        """
        begun = time.monotonic()
        try:
            return decode(line)
        finally:
            now = time.monotonic()
            self._rested = max(self._rested, now) + REST * (now - begun + more)

    async def read_in_turn(self, line: bytes, more: float) -> dict[str, Any]:
        """As `read`, once it may."""
        while rest := self.rest():  # noqa: ASYNC110 (another session of the socket may have taken its turn meanwhile)
            await asyncio.sleep(rest)
        return self.read(line, more)

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when it is its turn: there is a place, and no rest is due. It may find that it wants it no more."""
        self._waiting.append(go_on)
        self._look()

    def give(self) -> None:
        self.places += 1
        self._look()

    def _look(self) -> None:
        if self._waiting and self.places and not self._next:
            self._next = asyncio.get_running_loop().call_later(self.rest(), self._call_next)

    def _call_next(self) -> None:
        self._next = None
        if self._waiting and self.places and not self.rest():
            self._waiting.pop(0)()
        self._look()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places, for as long as the block takes."""
        while not self.places:
            turn = asyncio.Event()
            self.wait(turn.set)
            await turn.wait()
        self.places -= 1
        try:
            yield
        finally:
            self.give()
