"""The turn loop: wait for a message, run claude on it once, tell the host how it ended, rest if need be.

claim -> begin (journal) -> claude, with the lease renewed and two deadlines -> end (journal) -> ack | release
"""

import logging
import random
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from django.utils import timezone

from agents.models import Turn
from broker.ids import new_id
from broker.wire import Refused

from . import claude, diary, invocation, words
from .attempt import LEASE, Attempt
from .calm import Calm
from .claude import NoClaude
from .config import Config
from .host import Host
from .invocation import Binary
from .journal import Journal
from .leftovers import sweep
from .outcome import Outcome
from .relay import Relay

log = logging.getLogger("hive.turns")

# Seconds.
POLL, LONGEST_REST = 60.0, 300.0
UUID_LENGTH = 36


class Failure(NamedTuple):
    """How a turn can fail: what is said, what becomes of its messages, how long to rest (doubled each time for
    'retry', up to 300 s), and what the agent's state is meanwhile."""

    sentence: str
    how: str
    rest: float = 0
    state: str = "idle"


FAILURES = {
    "not_logged_in": Failure("Claude is not logged in, or its login is no longer taken.", "hold", 300, "login"),
    "billing": Failure("The account has no credit left.", "hold", 300, "paused"),
    "rate_limited": Failure("The account's usage limit is reached.", "hold", 60, "paused"),
    "no_cli": Failure("There is no claude here that can be driven.", "hold", 30, "failing"),
    "no_model": Failure("The configured model does not exist for this account.", "hold", 300, "failing"),
    "overloaded": Failure("The model API has too much to do.", "retry", 30, "failing"),
    "api_error": Failure("The model API failed.", "retry", 5, "failing"),
    "mcp": Failure("The hive's tools did not reach claude.", "retry", 1, "failing"),
    "crashed": Failure("Claude ended without a result.", "retry", 1, "failing"),
    "idle": Failure("Claude showed no sign of life.", "retry", 1, "failing"),
    "killed": Failure("The turn was ended from outside.", "retry", 1, "failing"),
    "timeout": Failure("The turn ran past its deadline.", "dead"),
    "budget": Failure("The turn spent its budget.", "dead"),
    "refused": Failure("The model did not take the request.", "dead"),
    "interrupted": Failure("interrupted by the operator", "dead"),
    # Its messages are somebody else's by now: nothing is said about them.
    "lease_lost": Failure("The host gave its messages away: it was out of reach for too long.", "nothing"),
}
RETRIED = [code for code, failure in FAILURES.items() if failure.how == "retry"]
LEFT_OPEN = "The harness itself was killed in the middle of this turn."


class Turns:
    """One agent's loop. `stop()` ends it in good order, a running turn included."""

    def __init__(self, config: Config, journal: Journal, host: Host, relay: Relay, folder: Path, port: int):
        self.config, self.journal, self.host, self.relay = config, journal, host, relay
        # The folder has the files of a run, the port leads to the host's way out.
        self.folder, self.port = folder, port
        self.binary: Binary | None = None
        self.missing = ""
        self.attempt: Attempt | None = None
        self.failed = 0
        self.calm = Calm(journal, Path(config.claude_dir) / ".credentials.json")

    async def loop(self) -> None:
        await self._find_claude()
        await self.journal.greet(self.host)
        await self._settle_old()
        while not self.calm.stopping.is_set():
            if await self._can_run() and (messages := await self._claim()):
                await self._turn(messages)

    def stop(self) -> None:
        self.calm.stopping.set()
        if self.attempt:
            self.attempt.stop("killed", claude.HURRIED)

    # ---- before a turn

    async def _find_claude(self) -> None:
        try:
            self.binary = await invocation.probe(self.config)
            self.journal.cli_version = self.binary.version
        except NoClaude as error:
            log.error("%s", error)
            self.missing = str(error)

    async def _can_run(self) -> bool:
        """Without a claude nothing is claimed."""
        if self.binary is None:
            await self.calm.rest("failing", self.missing, FAILURES["no_cli"].rest)
            await self._find_claude()
            await self.journal.greet(self.host)
        return self.binary is not None

    async def _settle_old(self) -> None:
        """What a process before us left: turns that it was killed in, endings that the host may not have heard."""
        agent = self.journal.agent
        for turn in await self.journal.write(partial(diary.left_open, agent, timezone.now(), LEFT_OPEN)):
            log.warning("turn %d was left open by an earlier harness", turn.number)
            if turn.pk == self._next_turn():
                self._note().unlink()
        for turn in await self.journal.write(partial(diary.unsettled, agent)):
            await self._settle(turn)
        self.failed = await self.journal.write(partial(diary.failures_in_a_row, agent, RETRIED))

    async def _claim(self) -> list[dict[str, Any]]:
        await self.calm.wait()
        turn = self._next_turn()
        asked = self.host.ask("recv", turn=turn, wait=POLL, lease=LEASE, key=turn)
        reply = await self.calm.unless_stopping(asked)
        return reply["messages"] if reply else []

    def _next_turn(self) -> str:
        """The id of the turn to come, on disk before anything is claimed for it.

        A harness that was killed right after the host gave it a message asks again under that id, and gets it again.
        """
        note = self._note()
        known = note.read_text() if note.exists() else ""
        if len(known) == UUID_LENGTH:
            return known
        note.write_text(turn := new_id())
        return turn

    def _note(self) -> Path:
        return self.config.journal / "next_turn"

    # ---- a turn

    async def _turn(self, messages: list[dict[str, Any]]) -> None:
        self.config = Config.read()
        turn = await self._begin(self._next_turn(), messages)
        outcome, code, detail = await self._attend(turn, words.wake(messages))
        await self._end(turn, outcome, code, detail)
        await self._settle(turn)
        await self._rest_after(turn, outcome)

    async def _begin(self, id_: str, messages: list[dict[str, Any]]) -> Turn:
        turn = Turn(pk=id_, agent=self.journal.agent, started_at=timezone.now(), model=self.config.model)
        turn.chain, turn.cli_version = messages[0]["chain"], self.journal.cli_version
        wake = {"messages": [message["id"] for message in messages], "from": messages[0]["sender"]}
        wake |= {"attempt": messages[0]["attempt"], "header": "\n".join(words.header(message) for message in messages)}
        self.calm.said = ("thinking", "", None)
        await self.journal.begin(turn, messages, ("wake", wake), ("state", {"state": "thinking", "why": ""}))
        self._note().unlink(missing_ok=True)
        log.info("turn %d begins: message %s", turn.number, ", ".join(str(message["id"]) for message in messages))
        return turn

    async def _attend(self, turn: Turn, prompt: str) -> tuple[Outcome, str, str]:
        """Run claude, and leave nothing running: what came of it, its code, and what is known about it."""
        assert self.binary
        self.attempt = Attempt(turn, self.config, self.binary, self.journal, self.host, self.folder, self.port)
        if self.calm.stopping.is_set():
            self.attempt.stop("killed")
        self.relay.begin(turn.pk)
        try:
            code, detail = await self.attempt.go(prompt)
            return self.attempt.outcome, code, detail
        finally:
            self.attempt = None
            self.relay.end()
            if swept := await sweep(str(self.config.journal)):
                log.info("turn %d left %d processes running: killed", turn.number, swept)

    async def _end(self, turn: Turn, outcome: Outcome, code: str, detail: str) -> None:
        failure = FAILURES.get(code)
        turn.outcome, turn.ended_at = code, timezone.now()
        turn.error = f"{failure.sentence} {detail}".strip()[:500] if failure else ""
        turn.cost_usd = outcome.cost_usd
        for column, count in outcome.tokens.items():
            setattr(turn, column, count)
        event = {"phase": "end", "number": turn.number, "outcome": code, "error": turn.error, "cost_usd": turn.cost_usd}
        await self.journal.keep(turn, ("turn", event))
        log.info("turn %d ends: %s %s", turn.number, code, turn.error)

    async def _settle(self, turn: Turn) -> None:
        """Tell the host how it ended, until it has heard; said twice it is said once."""
        failure, row = FAILURES.get(turn.outcome), turn.as_json()
        try:
            if failure is None:
                await self.host.ask("ack", turn=row)
            elif failure.how != "nothing":
                await self.host.ask("release", turn=row, how=failure.how, reason=turn.error[:300])
        except Refused as refusal:
            # The lease runs out by itself and the message comes again: nothing is lost.
            log.error("turn %d cannot be settled: %s", turn.number, refusal)
        turn.settled = True
        await self.journal.keep(turn)

    # ---- after a turn

    async def _rest_after(self, turn: Turn, outcome: Outcome) -> None:
        failure = FAILURES.get(turn.outcome)
        self.failed = self.failed + 1 if turn.outcome in RETRIED else 0
        if failure and failure.rest:
            await self.calm.rest(failure.state, turn.error, self._seconds(failure, outcome))

    def _seconds(self, failure: Failure, outcome: Outcome) -> float:
        if failure.how == "retry":
            # Jitter, so that agents that failed together do not come back together.
            return min(failure.rest * 2 ** min(self.failed - 1, 10), LONGEST_REST) * random.uniform(0.8, 1.2)  # noqa: S311
        if failure is FAILURES["rate_limited"] and outcome.resets_at:
            return max(outcome.resets_at - time.time(), 1) + random.uniform(0, 5)  # noqa: S311
        return failure.rest
