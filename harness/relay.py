"""Carries claude's MCP session to the host's socket, so that the session outlives a restart of the host daemon.

Each `tools/call` is tagged with the turn and a key, so that one that is repeated after a restart is done once.
"""

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.wire import LINE, encode

from .storable import storable

# Read whole, so that claude is told what was too long instead of losing its server.
LONGEST = 16 * 1024 * 1024
KEY = re.compile(r"[A-Za-z0-9_.:-]{8,64}")
INITIALIZE, INITIALIZED, CANCELLED = "initialize", "notifications/initialized", "notifications/cancelled"


class Relay:
    """The socket that shims connect to; it takes them only while a turn runs."""

    def __init__(self, host: Path):
        self.host = host
        self.turn: str | None = None
        self.sessions: set[asyncio.Task] = set()

    async def listen(self, path: Path) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, path, limit=LONGEST)

    def begin(self, turn: str) -> None:
        self.turn = turn

    def end(self) -> None:
        """Hang up on whatever the turn left behind: the host then cancels what it still waits for."""
        self.turn = None
        for session in self.sessions:
            session.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.turn is not None:
            session = asyncio.create_task(Session(self.turn, self.host, reader, writer).run())
            self.sessions.add(session)
            await asyncio.wait([session])
            self.sessions.discard(session)
        writer.close()


@dataclass
class Session:
    """One shim's connection and the host connection that serves it, made anew as often as needed."""

    turn: str
    path: Path
    reader: asyncio.StreamReader
    claude: asyncio.StreamWriter
    host: asyncio.StreamWriter | None = None
    greeting: dict[str, Any] = field(default_factory=dict)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    # What claude asked and nobody has answered yet, by request id, in order.
    pending: dict[Any, bytes] = field(default_factory=dict)

    async def run(self) -> None:
        carrying = asyncio.create_task(self._carry())
        try:
            while line := await self._line():
                await self._from_claude(line)
        except ConnectionError:
            pass
        finally:
            carrying.cancel()
            await asyncio.wait([carrying])

    async def _line(self) -> bytes:
        """Claude's next line; b'' when it is gone, or has said more at once than anybody reads."""
        try:
            return await self.reader.readline()
        except ValueError:
            return b""

    # ---- claude to host

    async def _from_claude(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        method, id_ = message.get("method"), message.get("id")
        if method == "tools/call":
            line = tagged(message, self.turn)
        if len(line) > LINE - 1:
            await self._refuse(id_)
            return
        if method is not None and id_ is not None:
            self.pending[id_] = line
        if method in (INITIALIZE, INITIALIZED):
            self.greeting[method] = message
        if method == CANCELLED:
            self.pending.pop(message.get("params", {}).get("requestId"), None)
        self.spoken.set()
        await self._to_host(line)

    async def _refuse(self, id_: Any) -> None:
        error = {"code": -32600, "message": f"At most {LINE} bytes go in one call: put the rest in a file."}
        self.claude.write(encode({"jsonrpc": "2.0", "id": id_, "error": error}))
        await self.claude.drain()

    async def _to_host(self, line: bytes) -> None:
        # With no host there, a request waits in `pending`; a notification has lost its meaning by then.
        if self.host is None:
            return
        try:
            self.host.write(line)
            await self.host.drain()
        except ConnectionError:
            self.host = None

    # ---- host to claude

    async def _carry(self) -> None:
        """Keep a connection to the host for as long as claude is there."""
        # A connection that says nothing would be cut; and 2.1.330 asks something else before it greets.
        await self.spoken.wait()
        pause = 0.1
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self.path, limit=LONGEST)
            except OSError:
                pass
            else:
                pause = 0.1 if await self._converse(reader, writer) else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass on what the host says until it is gone; False when it never got as far as a greeting."""
        try:
            if not await self._greet(reader, writer):
                return False
            for line in self.pending.values():
                writer.write(line)
            self.host = writer
            while line := await reader.readline():
                await self._from_host(line)
        except (ConnectionError, ValueError):
            # A reconnect may first reach the dying socket of the old daemon.
            pass
        finally:
            self.host = None
            writer.close()
        return True

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Introduce claude to a new daemon as the old one knew it; its second welcome is not claude's business."""
        hello = self.greeting.get(INITIALIZE)
        if hello is None or hello["id"] in self.pending:
            return True
        writer.write(encode(hello))
        while line := await reader.readline():
            answer = json.loads(line)
            if answer.get("id") == hello["id"] and "result" in answer:
                break
        if line and INITIALIZED in self.greeting:
            writer.write(encode(self.greeting[INITIALIZED]))
        return bool(line)

    async def _from_host(self, line: bytes) -> None:
        message = json.loads(line)
        if "method" not in message and self.pending.pop(message.get("id"), None) is None:
            return
        self.claude.write(line)
        await self.claude.drain()


def tagged(message: dict[str, Any], turn: str) -> bytes:
    """The call with the turn it belongs to and a key that stays the same when it is repeated."""
    meta = message.setdefault("params", {}).setdefault("_meta", {})
    call = str(meta.get("claudecode/toolUseId") or message.get("id"))
    key = f"{turn}:{call}"
    if not KEY.fullmatch(key):
        key = f"{turn}:{hashlib.sha256(call.encode()).hexdigest()[:24]}"
    message["params"]["_meta"] = meta | {"hive/turn": turn, "hive/key": key}
    return encode(storable(message))
