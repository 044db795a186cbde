"""Pages that stay true: rows after the browser's own cursor, parts that are rendered anew when their topic wakes.

The browser opens with `{"after": id}` and answers each frame with `{"ack": n}`. A frame is
`{"n", "at", "rows": html, "last": id, "skipped": n, "parts": {name: html}}`; a frame with nothing new is the heartbeat.
A topic only wakes: what is sent comes from rows, so a lost or doubled wake-up loses and repeats nothing.
"""

import asyncio
import json
import logging
import time
from contextlib import ExitStack
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.http.request import split_domain_port, validate_host
from django.utils import timezone

from broker.events import Subscription

from .feed import Feed, Part

log = logging.getLogger("hive.pages")

PACE = 0.1  # seconds between frames
HEARTBEAT = 15.0
WINDOW = 4  # frames that may be under way to a reader
SLOW = 60.0  # seconds until a reader that does not read is hung up on

# Why a socket was closed; hive.js knows them too.
SIGNED_OUT, UNKNOWN, TOO_SLOW, FAILED = 4403, 4404, 4408, 4500


class LivePage(AsyncWebsocketConsumer):
    """One browser tab. A subclass says which `parts` and which `feed` its page has."""

    welcome = False

    def feed(self) -> Feed:
        raise NotImplementedError

    def parts(self) -> dict[str, Part]:
        raise NotImplementedError

    def known(self) -> bool:
        """Whether there is such a page at all."""
        return True

    # ---- coming and going

    async def connect(self) -> None:
        self.running: asyncio.Task | None = None
        if not same_origin(self.scope):
            await self.close()
            return
        # Taken before it is refused: a browser hears no reason for a handshake that failed.
        await self.accept()
        if not (user := self.scope["user"]) or not user.is_authenticated:
            await self.close(SIGNED_OUT)
        elif not await database_sync_to_async(self.known)():
            await self.close(UNKNOWN)
        else:
            self.sent = self.acked = 0
            self.ack = asyncio.Event()
            self.shown: dict[str, str] = {}
            self.welcome = True

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        said = parsed(text_data)
        if not self.welcome:
            return
        if whole(said.get("after")) and self.running is None:
            self.running = asyncio.create_task(self.run(said["after"]))
        elif whole(said.get("ack")):
            self.acked = min(max(self.acked, said["ack"]), self.sent)
            self.ack.set()

    async def disconnect(self, code: int) -> None:
        if self.running:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)

    # ---- frames

    async def run(self, cursor: int) -> None:
        self.stream, pieces = self.feed(), self.parts()
        topics = {self.stream.topic}.union(*(part.topics for part in pieces.values()))
        with ExitStack() as watched:
            changes = watched.enter_context(Subscription(*topics))
            for part in pieces.values():
                watched.enter_context(part)
            try:
                cursor, skipped = await database_sync_to_async(self.stream.skip)(cursor)
                await self.follow(changes, pieces, cursor, skipped)
            except Exception:  # a tab must not look alive when nobody feeds it: it comes again, with its cursor
                log.exception("a live page failed")
                await self.close(FAILED)

    async def follow(self, changes: Subscription, pieces: dict[str, Part], cursor: int, skipped: int) -> None:
        quiet, asked = True, time.monotonic()
        while True:
            begun = time.monotonic()
            frame = await database_sync_to_async(self.gather)(pieces, cursor)
            if frame or quiet:
                cursor = frame.get("last", cursor)
                await self.send_frame(frame | {"skipped": skipped})
                skipped = 0
            if not await self.may_go_on():
                return await self.close(TOO_SLOW)
            # A page that is dear to render is rendered less often.
            await asyncio.sleep(max(PACE, 2 * (time.monotonic() - begun)))
            quiet = "rows" not in frame and not await changes.wait(HEARTBEAT)
            # By the clock too: a hive at work is never quiet.
            if quiet or time.monotonic() - asked > HEARTBEAT:
                asked = time.monotonic()
                if not await database_sync_to_async(still_signed_in)(self.scope):
                    return await self.close(SIGNED_OUT)

    def gather(self, pieces: dict[str, Part], cursor: int) -> dict[str, Any]:
        """What this tab does not have yet."""
        frame = dict(self.stream.after(cursor))
        now = {name: part.now() for name, part in pieces.items()}
        if fresh := {name: html for name, html in now.items() if self.shown.get(name) != html}:
            self.shown.update(fresh)
            frame["parts"] = fresh
        return frame

    async def send_frame(self, frame: dict[str, Any]) -> None:
        self.sent += 1
        await self.send(json.dumps({"n": self.sent, "at": timezone.now().isoformat()} | frame))

    async def may_go_on(self) -> bool:
        """Waits while the window is full; False for a reader that does not read. What is new waits in the database."""
        while self.sent - self.acked >= WINDOW:
            self.ack.clear()
            try:
                async with asyncio.timeout(SLOW):
                    await self.ack.wait()
            except TimeoutError:
                return False
        return True


def parsed(text: str | None) -> dict[str, Any]:
    """What a browser said; {} for anything that is no JSON object."""
    try:
        said = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def same_origin(scope: Any) -> bool:
    """Whether a page of ours opened this socket: scheme, host and port, which Channels' own validator leaves out."""
    headers = {name: value.decode("latin1").lower() for name, value in scope["headers"] if name in (b"origin", b"host")}
    host, origin = headers.get(b"host", ""), headers.get(b"origin", "")
    domain, _ = split_domain_port(host)
    ours = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
    return ours and origin in (f"http://{host}", f"https://{host}")


def still_signed_in(scope: Any) -> bool:
    """Signing out ends what is live, too, and so does removing the user."""
    session = Session.objects.filter(pk=scope["session"].session_key, expire_date__gt=timezone.now())
    user = get_user_model().objects.filter(pk=scope["user"].pk, is_active=True)
    return session.exists() and user.exists()
