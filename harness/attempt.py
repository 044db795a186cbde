"""One turn's claude, attended: its lines go into the journal, its lease is renewed, its deadlines are watched."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agents.models import Turn
from broker.wire import Refused

from . import diary, invocation, words
from .claude import LADDER, Ladder, NoClaude, Run
from .config import Config
from .host import Host
from .invocation import Binary
from .journal import Journal
from .outcome import Outcome

# Seconds: how long the host keeps the turn's messages for it, and how long it may think about a renewal.
LEASE, RENEW = 90.0, 20.0


@dataclass
class Attempt:
    turn: Turn
    config: Config
    binary: Binary
    journal: Journal
    host: Host
    folder: Path
    port: int
    outcome: Outcome = field(default_factory=Outcome)
    run: Run | None = None
    stopped: str = ""
    asked_for: str = ""
    heard_at: float = 0.0

    async def go(self, prompt: str) -> tuple[str, str]:
        """Run claude to the end of the turn: (code, what is known about it). A turn that we ended is never 'ok'."""
        watching = [asyncio.create_task(story) for story in (self._renew(), self._watch())]
        try:
            await self._run(prompt)
        except NoClaude as error:
            return "no_cli", str(error)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
        return self._verdict()

    def stop(self, code: str, ladder: Ladder = LADDER) -> None:
        """End it, for this reason; the first reason counts."""
        self.stopped = self.stopped or code
        if self.run:
            self.run.stop(self.stopped, ladder)

    # ---- claude

    async def _run(self, prompt: str) -> None:
        self.asked_for = await self.journal.write(partial(diary.last_session, self.turn.agent))
        await self._once(["--resume", self.asked_for] if self.asked_for else ["--continue"], prompt)
        if self.outcome.lost_session and not self.stopped:
            await self._note(f"Session {self.asked_for} is gone, with what claude remembered: a new one begins.")
            self.asked_for, self.outcome = "", Outcome()
            await self._once([], prompt)

    async def _once(self, session: list[str], prompt: str) -> None:
        if self.stopped:
            return
        invocation.write_files(self.folder, self.config, words.role(self.config), self.folder / "relay.sock")
        command = invocation.argv(self.config, self.binary, self.folder, session)
        self.run, self.heard_at = Run(self._hear), asyncio.get_running_loop().time()
        await self.run.go(command, invocation.environment(self.config, self.port), self.config.workspace, prompt)
        self.stopped = self.stopped or self.run.stopped

    async def _hear(self, kind: str, line: dict[str, Any]) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        self.outcome.take(line)
        await self.journal.append(kind, line, self.turn.pk)
        if line.get("type") == "system" and line.get("subtype") == "init":
            await self._started()

    async def _started(self) -> None:
        """Claude has named its session, and says whether it has the hive's tools: without them it would work on, mute."""
        outcome = self.outcome
        if self.asked_for and outcome.session_id != self.asked_for:
            await self._note(
                f"Session {self.asked_for} could not be continued, {outcome.session_id} begins without it."
            )
            self.asked_for = ""
        self.turn.session_id, self.turn.model, self.turn.cli_version = (
            outcome.session_id,
            outcome.model,
            outcome.cli_version,
        )
        await self.journal.keep(self.turn)
        if outcome.mcp != "connected":
            self.stop("mcp")

    async def _note(self, text: str) -> None:
        await self.journal.append("log", {"text": text}, self.turn.pk)

    def _verdict(self) -> tuple[str, str]:
        outcome, code = self.outcome, self.stopped or self.outcome.code()
        details = {
            "mcp": f"The server is {outcome.mcp}.",
            "crashed": outcome.words() or f"Exit code {self.run.exit_code if self.run else None}.",
            "timeout": f"It is {self.config.turn_timeout:g} s.",
            "idle": f"It was silent for {self.config.idle_timeout:g} s.",
        }
        return code, details.get(code, "" if self.stopped else outcome.words())

    # ---- beside claude

    async def _renew(self) -> None:
        """Keep the lease, and hear of the operator's interrupt, until the turn is to end."""
        while not self.stopped:
            try:
                wishes = await self.host.ask("renew", turn=self.turn.pk, lease=LEASE, wait=RENEW)
            except Refused as refusal:
                wishes = {}
                if refusal.word == "lease_lost":
                    self.stop("lease_lost")
            if wishes.get("interrupt"):
                self.stop("panic" if wishes.get("keep") else "interrupted")
            await asyncio.sleep(0.5)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        begun = self.heard_at = loop.time()
        while not self.stopped:
            if loop.time() - begun > self.config.turn_timeout:
                self.stop("timeout")
            elif loop.time() - self.heard_at > self.config.idle_timeout:
                self.stop("idle")
            await asyncio.sleep(0.25)
