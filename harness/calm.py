"""What the agent does when it runs no turn: it says so, it rests after a failure, and it listens for its end."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from .journal import Journal

IDLE = ("idle", "")
NOT_LOGGED_IN = ("login", "Claude is not logged in.")


class Calm:
    """`stopping` is set when the harness is to end: everything here ends at once then."""

    def __init__(self, journal: Journal, credentials: Path):
        self.journal, self.credentials = journal, credentials
        self.said: tuple[str, str, datetime | None] | None = None
        self.stopping = asyncio.Event()
        # As claude itself says; None until it was asked.
        self.logged_in: bool | None = None

    async def say(self, state: str, why: str = "", until: datetime | None = None) -> None:
        """Tell what the agent is doing, when it is news."""
        if (state, why, until) == self.said:
            return
        self.said = (state, why, until)
        payload = {"state": state, "why": why} | ({"until": until.isoformat()} if until else {})
        await self.journal.append("state", payload)

    async def wait(self) -> None:
        """Say that the next message is waited for, and whether it will be of use."""
        await self.say(*(NOT_LOGGED_IN if self.logged_in is False else IDLE))

    async def knows(self, logged_in: bool) -> None:
        """It counts at once for an agent that waits, else when it waits next."""
        self.logged_in = logged_in
        if self.said in ((*IDLE, None), (*NOT_LOGGED_IN, None)):
            await self.wait()

    async def rest(self, state: str, why: str, seconds: float) -> None:
        """Claim nothing for so long, or until somebody has logged in."""
        await self.say(state, why, timezone.now() + timedelta(seconds=seconds))
        login, until = self._login(), time.monotonic() + seconds
        while time.monotonic() < until and self._login() == login and not self.stopping.is_set():
            await self.unless_stopping(asyncio.sleep(min(1.0, max(until - time.monotonic(), 0))))

    def _login(self) -> float:
        try:
            return self.credentials.stat().st_mtime
        except OSError:
            return 0.0

    async def unless_stopping(self, story: Coroutine[Any, Any, Any]) -> Any:
        """Its result, or None when the harness is told to stop first."""
        working, stopping = asyncio.create_task(story), asyncio.create_task(self.stopping.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            return working.result()
        working.cancel()
        return None
