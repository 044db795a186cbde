"""Logs claude in, steered by the operator through the host: `claude auth login` over pipes, its link told, the code given.

The host is asked for the next wish all the time, whatever else goes on. Seen with Claude Code 2.1.143 to 2.1.330.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
from typing import Any

from broker.wire import Refused

from . import invocation, leftovers
from .calm import Calm
from .claude import NoClaude
from .config import Config
from .host import Host

log = logging.getLogger("hive.login")

# Seconds: a whole login, one look for a wish, claude's other commands, how long a code may be in the air before we take
# claude's silence for another question, and how often a process is looked at that says nothing.
LIMIT, POLL, COMMAND, SILENT, LOOK = 600.0, 60.0, 30.0, 20.0, 0.2
# Seconds until a host that does not know these verbs is asked again.
RETRY = 60.0
LONGEST = 64 * 1024

LINK = re.compile(r"https://\S+/oauth/authorize\?\S+(?=\s)")
PROMPT = "Paste code here if prompted >"
ASKS_AGAIN = re.compile(r"full code", re.IGNORECASE)
# What stands around the link; the rest is what claude has to say.
FRAME = re.compile(r"Opening browser to sign in.*|If the browser didn't open, visit:.*|https://\S+/oauth/authorize\S*")
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))")
METHODS = {"api_key": "an API key", "oauth_token": "a token", "claude.ai": "claude.ai"}
HELD_KEY = "the key that the hive holds"


class Login:
    """One agent's login. `keep()` listens for ever; at most one dialog with claude is open."""

    def __init__(self, host: Host, calm: Calm, port: int):
        self.host, self.calm, self.port = host, calm, port
        self.dialog: Dialog | None = None
        self.task: asyncio.Task | None = None
        # The wish that was taken up last.
        self.number = 0

    async def keep(self) -> None:
        try:
            while True:
                try:
                    await self._tell("", **await self._status())
                    await self._listen()
                except Refused as refusal:
                    log.warning("The host does not hear of the login: %s", refusal)
                    await asyncio.sleep(RETRY)
        finally:
            await self._give_up()

    async def _listen(self) -> None:
        while True:
            await self._take(await self.host.ask("login_wish", wait=POLL))

    async def _take(self, wish: dict[str, Any]) -> None:
        if not wish["wish"]:
            return
        self.number = wish["number"]
        if wish["wish"] == "code":
            await self._code(wish["code"])
            return
        await self._give_up()
        if wish["wish"] == "start":
            self.task = asyncio.create_task(self._log_in())
        elif wish["wish"] == "logout":
            await self._log_out()
        else:
            await self._tell("")

    async def _code(self, code: str) -> None:
        if self.dialog is None:
            await self._tell("failed", words="No login is under way any more: begin anew.")
        elif not code:
            await self._tell("waiting", words="The hive was restarted before the code came through: paste it again.")
        else:
            await self._tell("checking")
            self.dialog.give(code)

    async def _log_in(self) -> None:
        await self._tell("starting")
        config = Config.read()
        environment = invocation.environment(config, self.port)
        # It is about the account, whatever key turns are given.
        environment.pop("ANTHROPIC_API_KEY", None)
        self.dialog = Dialog(self)
        try:
            async with asyncio.timeout(LIMIT):
                code = await self.dialog.go([config.claude, "auth", "login"], environment, config)
            state, words = ("failed" if code else "ok"), self.dialog.words() or f"It ended with exit code {code}."
        except TimeoutError:
            state, words = "failed", f"It was given up after {LIMIT / 60:g} minutes."
        except (OSError, Refused) as error:
            state, words = "failed", str(error)
        finally:
            self.dialog = None
        known = await self._status()
        if state == "ok" and not known.get("logged_in"):
            state, words = "failed", f"{words} Yet claude says that it is not logged in."
        await self._tell(state, words="" if state == "ok" else words, **known)
        await self.calm.journal.append("log", {"text": f"claude auth login: {'ok' if state == 'ok' else words}"})

    async def _log_out(self) -> None:
        with contextlib.suppress(NoClaude):
            await invocation.said(Config.read(), "auth", "logout", seconds=COMMAND)
        await self._tell("", **await self._status())
        await self.calm.journal.append("log", {"text": "claude auth logout"})

    async def _give_up(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def _status(self) -> dict[str, Any]:
        """Whether claude says that it is logged in, and as whom. It reads files alone: a login that is void counts too."""
        config = Config.read()
        if config.model_url == "relay":
            known: dict[str, Any] = {"logged_in": True, "account": HELD_KEY}
        else:
            try:
                known = account(await invocation.said(config, "auth", "status", "--json", seconds=COMMAND))
            except NoClaude:
                return {}
        if "logged_in" in known:
            await self.calm.knows(known["logged_in"])
        return known

    async def _tell(self, state: str, **how: Any) -> None:
        await self.host.ask("login_says", state=state, takes=self.number, **how)


def account(text: str) -> dict[str, Any]:
    """What `claude auth status --json` says, as the host takes it; {} when it says nothing."""
    try:
        said = json.loads(text)
        logged_in = bool(said["loggedIn"])
    except (ValueError, KeyError, TypeError):
        return {}
    method = str(said.get("authMethod"))
    words = [METHODS.get(method, method), *(said.get(name) for name in ("subscriptionType", "email", "orgName"))]
    return {
        "logged_in": logged_in,
        "account": " · ".join(str(word) for word in words if word)[:200] if logged_in else "",
    }


class Dialog:
    """One `claude auth login`: what it has said so far, and what of it is news."""

    def __init__(self, login: Login):
        self.login = login
        self.process: asyncio.subprocess.Process | None = None
        self.said = ""
        self.state = "starting"
        # What was said before the code was given, and when that was.
        self.old, self.given_at, self.code = 0, 0.0, ""

    async def go(self, command: list[str], environment: dict[str, str], config: Config) -> int:
        """To its end: the exit code. Whatever happens, the process is gone then."""
        self.process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=config.workspace, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        with leftovers.spared(self.process.pid):
            try:
                return await self._listen(self.process)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                while self.process.returncode is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                self.process._transport.close()  # type: ignore[attr-defined]

    def give(self, code: str) -> None:
        """Into its stdin. It waits on when that is closed, so it stays open."""
        self.old, self.given_at, self.code = len(self.said), asyncio.get_running_loop().time(), code
        self.state = "checking"
        if self.process and self.process.stdin:
            self.process.stdin.write(code.encode() + b"\n")

    def words(self) -> str:
        """What it said since the code was given, without the code itself; before, all that is not around the link."""
        text = ESCAPES.sub("", self.said[self.old :]).replace(PROMPT, "\n")
        lines = [line.strip() for line in FRAME.sub("", text).splitlines()]
        words = " ".join(line for line in lines if line)
        for secret in (self.code, *self.code.split("#")):
            if len(secret) > 5:
                words = words.replace(secret, "…")
        return words[-500:]

    async def _listen(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout
        held = b""
        # By its end, not by that of its output, which a child of it may hold open.
        while process.returncode is None or held:
            held = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    held = await process.stdout.read(4096)
            if not held and process.stdout.at_eof():
                await asyncio.sleep(LOOK / 10)
            self.said = (self.said + held.decode(errors="replace"))[:LONGEST]
            await self._look()
        return process.returncode

    async def _look(self) -> None:
        """Tell what is news: the link, or that the code is asked for again."""
        if self.state == "starting" and (link := LINK.search(ESCAPES.sub("", self.said))):
            self.state = "waiting"
            await self.login._tell("waiting", link=link[0])
        elif self.state == "checking" and (words := self.words()):
            silent = asyncio.get_running_loop().time() - self.given_at > SILENT
            if silent or ASKS_AGAIN.search(words):
                self.state = "waiting"
                await self.login._tell("waiting", words=words)
