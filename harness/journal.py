"""The agent's diary: turns and events on the container's own disk first, then replayed to the host by cursor.

An event has its number from the transaction that stores it, so numbers have no gap and no double, whenever the process
is killed. The host says how far it has heard; what it has not heard waits here for as long as it is away.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.models import Turn
from broker.wire import Refused
from broker.writer import Writer

from . import diary
from .diary import Row
from .host import Host

log = logging.getLogger("hive.journal")

# Turns that go in one line of the wire.
TURNS = 50
# How many events that the host has heard are kept for a look into the container.
KEPT = 2000
# Seconds until a refusal is tried again; and that an event may wait for the next ones.
RETRY, BREATH = 5.0, 0.02


class Journal:
    """One agent's rows, written through the one writer and replayed by `replay()`."""

    def __init__(self, agent: str, writer: Writer):
        self.agent, self.writer = agent, writer
        # Names this process to the host.
        self.harness = str(uuid.uuid4())
        self.cli_version = ""
        # The newest event that the host has; and the turns that changed since it last heard of them.
        self.heard = 0
        self.pruned = 0
        # The host's newest turn number: it counts when the journal was lost.
        self.last_number = 0
        self.changed_turns: dict[str, Row] = {}
        self.changed, self.greeted = asyncio.Event(), asyncio.Event()

    # ---- writing

    async def write(self, job: Callable[[], Any]) -> Any:
        """Run a job on the writer and have its rows replayed once they are on disk."""
        result = await self.writer.write(job)
        self.changed.set()
        return result

    async def append(self, kind: str, payload: Row, turn: str | None = None) -> int:
        return await self.write(partial(diary.append, self.agent, kind, payload, turn))

    async def begin(self, turn: Turn, messages: list[Row], *events: tuple[str, Row]) -> None:
        """Store a new turn, the messages it took, and its first events."""
        await self.write(partial(diary.begin, turn, self.last_number, messages, events))
        self.changed_turns[turn.pk] = turn.as_json()

    async def keep(self, turn: Turn, *events: tuple[str, Row]) -> None:
        """Store a turn as it is now, together with events of it."""
        await self.write(partial(diary.keep, turn, events))
        self.changed_turns[turn.pk] = turn.as_json()

    # ---- telling the host

    async def greet(self, host: Host) -> Row:
        """Say hello and learn how much the host has heard; go on after it when it has more than the journal."""
        newest = await self.writer.write(partial(diary.newest_event, self.agent))
        reply = await host.ask("hello", harness=self.harness, cli_version=self.cli_version, seq=newest)
        self.heard, self.last_number = reply["seq"], reply.get("number", 0)
        if self.heard > newest:
            await self.write(partial(diary.go_on_after, self.agent, self.heard))
        self.greeted.set()
        self.changed.set()
        return reply

    async def replay(self, host: Host) -> None:
        """Keep the host up to date, for ever; from where it is, which a greeting tells."""
        await self.greeted.wait()
        while True:
            await self.changed.wait()
            # What comes in one breath is told in one.
            await asyncio.sleep(BREATH)
            self.changed.clear()
            try:
                while await self._tell(host):
                    await self._prune()
            except Refused as refusal:
                await self._refused(host, refusal)

    async def _tell(self, host: Host) -> bool:
        """One batch; False when the host knows everything."""
        rows = await self.writer.write(partial(diary.batch, self.agent, self.heard))
        turns = list(self.changed_turns.values())[:TURNS]
        if not rows and not turns:
            return False
        self.heard = (await host.ask("events", rows=rows, turns=turns))["seq"]
        for turn in turns:
            if self.changed_turns.get(turn["id"]) is turn:
                del self.changed_turns[turn["id"]]
        return True

    async def _refused(self, host: Host, refusal: Refused) -> None:
        if refusal.word != "event_gap":
            log.error("The host does not take the journal's events: %s", refusal)
            await asyncio.sleep(RETRY)
        # Its database may have been restored from a backup: hear anew how far it is.
        await self.greet(host)

    async def _prune(self) -> None:
        if self.heard - self.pruned > KEPT // 4:
            await self.writer.write(partial(diary.prune, self.agent, self.heard - KEPT))
            self.pruned = self.heard
