"""Both ends of the line protocol: newline-delimited JSON-RPC 2.0 over unix sockets. It knows no Django.

`Client.call()` asks, `listen()` answers, `Refused` is how a verb says no. Who asks is told by the socket it came in on,
never by what it writes.
"""

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .jsonrpc import CODES, KINDS, Refused, decode, encode

__all__ = ["CODES", "KINDS", "Client", "Peer", "Refused", "Unreachable", "ask", "bind", "decode", "encode", "listen"]

# Bytes and seconds; the figures behind them: an endless line cost an unguarded server 6 s of CPU, unread replies 259 MiB.
LINE = 256 * 1024
BODY = 64 * 1024
CONNECTIONS = 16
IN_FLIGHT = 16
# Of one socket's requests so many are done at once; and it rests so many times as long as the loop took to read them,
# once that has added up to a burst. Without it one agent's flood let the others wait for 1.7 s.
AT_ONCE = 2
REST, BURST = 8.0, 0.25
IDLE = 30.0
LINE_TIME = 5.0
DRAIN = 5.0
# Who is turned away is told why, but of a flood only so many at a time.
LINGER, LINGER_READS, LINGERING = 0.5, 16, 16
BACKLOG = 64
SEND_BUFFER = 128 * 1024
# The longest a long poll may last, and so the most a client waits beyond its own patience.
POLL = 60.0


class Unreachable(Exception):
    """Nobody listens on the socket."""


@dataclass
class Peer:
    """The other end of a connection: process, user and group, as the kernel says (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: socket.socket) -> "Peer":
        size = struct.calcsize("3i")
        return cls(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


class Share:
    """What one socket, over all its connections, may have of a daemon that serves others too."""

    def __init__(self, at_once: int = AT_ONCE):
        self.places = asyncio.Semaphore(at_once)
        self._reading = asyncio.Lock()
        self._rested = 0.0

    async def read(self, line: bytes, more: float = 0.0) -> dict[str, Any]:
        """`decode(line)`, when it is this socket's turn. What is dear to read is dear to do, so a rest follows.

        `more` are the seconds of the loop that it is known to cost besides.
        """
        async with self._reading:
            await asyncio.sleep(max(0.0, self._rested - BURST - time.monotonic()))
            begun = time.thread_time()
            try:
                return decode(line)
            finally:
                self._rested = max(self._rested, time.monotonic()) + REST * (time.thread_time() - begun + more)


Verb = Callable[[Peer, str, dict[str, Any]], Awaitable[Any]]
Session = Callable[[Peer, bytes, asyncio.StreamReader, asyncio.StreamWriter, Share], Awaitable[None]]


# ---- the answering end ------------------------------------------------------------------------------------------------


async def listen(
    path: Path,
    verb: Verb,
    *,
    session: Session | None = None,
    polls: frozenset[str] = frozenset({"recv", "renew", "login_wish"}),
    uids: frozenset[int] | None = None,
    gid: int | None = None,
    connections: int = CONNECTIONS,
    at_once: int = AT_ONCE,
) -> asyncio.Server:
    """Serve `verb(peer, method, params)` on `path`. A first `initialize` hands the connection to `session` (MCP).

    `polls` are the verbs that a hang-up cancels; everything else that was begun is finished, `at_once` of it at a time.
    `uids` are the users that may connect (None: whoever can open the socket); `gid` is the group that can open it.
    """
    sock = bind(path, gid)
    open_now: set[asyncio.StreamWriter] = set()
    share = Share(at_once)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer.of(writer.get_extra_info("socket"))
        open_now.add(writer)
        try:
            if len(open_now) > connections + LINGERING:
                pass
            elif uids is not None and peer.uid not in uids:
                await _turn_away(
                    reader, writer, Refused("refused", "This socket belongs to another user.", "wrong_user")
                )
            elif len(open_now) > connections:
                full = f"This socket already has {connections} connections."
                await _turn_away(reader, writer, Refused("busy", full, "too_many_connections"))
            else:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                await Connection(peer, reader, writer, verb, session, polls, share).serve()
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            # Cancelled: the loop ends, and nobody awaits a connection's task.
            pass
        finally:
            open_now.discard(writer)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    return await asyncio.start_unix_server(serve, sock=sock, backlog=BACKLOG, limit=LINE)


def bind(path: Path, gid: int | None = None) -> socket.socket:
    """A unix socket at `path` that its owner and, as root, the group `gid` can open.

    The directory belongs to the daemon and no agent can write to it, so the path still names our own socket when its mode
    is set.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    try:
        sock.bind(os.fspath(path))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: {path}") from None
    if gid is not None and os.geteuid() == 0:
        os.chown(path, 0, gid)
    os.chmod(path, 0o660)
    return sock


async def _reply(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    if writer.is_closing():
        raise ConnectionResetError("nobody is there to hear it")
    writer.write(encode(message))
    # A peer that does not read its replies loses the connection, not our memory.
    async with asyncio.timeout(DRAIN):
        await writer.drain()


async def _turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refusal: Refused) -> None:
    await _reply(writer, {"jsonrpc": "2.0", "id": None, "error": refusal.as_error()})
    await _linger(reader)


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read away what is still coming, for a while: a close with unread bytes would take the reply with it."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(LINGER):
            for _ in range(LINGER_READS):
                if not await reader.read(LINE):
                    return


@dataclass
class Connection:
    peer: Peer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    verb: Verb
    session: Session | None
    polls: frozenset[str]
    share: Share
    running: dict[asyncio.Task, str] = field(default_factory=dict)

    async def serve(self) -> None:
        try:
            while line := await self._line():
                if await self._take(line):
                    assert self.session
                    return await self.session(self.peer, line, self.reader, self.writer, self.share)
        finally:
            await self._hang_up()

    async def _take(self, line: bytes) -> bool:
        """Begin to answer the request; True when an MCP session is asked for instead.

        A frame of its own, because a line of 256 KiB can be 6 MB of objects, which must not outlive their answer.
        """
        async with contextlib.AsyncExitStack() as place:
            # Before it is read: what waits for its turn waits as bytes, in the peer's own memory.
            crowded = self.share.places.locked()
            await place.enter_async_context(self.share.places)
            if crowded and self._gone():
                raise ConnectionResetError("nobody is there to want it any more")
            try:
                request = await self.share.read(line)
            except Refused as refusal:
                await self._error(None, refusal)
                return False
            method = str(request.get("method"))
            if method == "initialize" and self.session and not self.running:
                return True
            if len(self.running) >= IN_FLIGHT:
                await self._error(request.get("id"), Refused("busy", "Too many requests are under way here."))
                return False
            # A poll needs no place for as long as it waits.
            taken = contextlib.AsyncExitStack() if method in self.polls else place.pop_all()
            task = asyncio.create_task(self._answer(request, taken))
            self.running[task] = method
            task.add_done_callback(lambda done: self.running.pop(done, None))
        return False

    def _gone(self) -> bool:
        """Whether the peer has closed both ways (poll(2), POLLHUP), not only said its last word.

        What it had sent by then would be done for nobody: of a flood, for minutes.
        """
        if self.writer.is_closing():
            return True
        ends = select.poll()
        ends.register(self.writer.get_extra_info("socket"), 0)
        return bool(ends.poll(0))

    async def _line(self) -> bytes:
        """The next line without its end; b'' when the peer has hung up, said too much or been silent too long."""
        while True:
            try:
                # Silence is cut only while nothing of this connection is under way.
                async with asyncio.timeout(None if self.running else IDLE):
                    first = await self.reader.readexactly(1)
                if first == b"\n":
                    continue
                async with asyncio.timeout(LINE_TIME):
                    return first + await self.reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return b""
            except asyncio.LimitOverrunError:
                await self._error(None, Refused("invalid_request", f"A line is at most {LINE} bytes.", "line_too_long"))
                await _linger(self.reader)
                return b""
            except TimeoutError:
                if self.running:
                    continue
                return b""

    async def _answer(self, request: dict[str, Any], place: contextlib.AsyncExitStack) -> None:
        id_ = request.get("id")
        try:
            async with place:
                answer = {"result": await self._result(request)}
        except Refused as refusal:
            answer = {"error": said(refusal)}
        if "id" in request:
            known = isinstance(id_, str | int) and not isinstance(id_, bool)
            await self._send({"jsonrpc": "2.0", "id": id_ if known else None} | answer)

    async def _result(self, request: dict[str, Any]) -> Any:
        id_, method, params = request.get("id"), request.get("method"), request.get("params", {})
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            raise Refused("invalid_request", 'A request needs "jsonrpc": "2.0" and a "method".')
        if not isinstance(id_, str | int | None) or isinstance(id_, bool):
            raise Refused("invalid_request", "An id is a string or a whole number.")
        if not isinstance(params, dict):
            raise Refused("bad_params", "Params are given by name, as an object.")
        return await self.verb(self.peer, method, params)

    async def _error(self, id_: Any, refusal: Refused) -> None:
        await self._send({"jsonrpc": "2.0", "id": id_, "error": said(refusal)})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await _reply(self.writer, message)
        except (ConnectionError, TimeoutError):
            self.writer.transport.abort()

    async def _hang_up(self) -> None:
        for task, method in list(self.running.items()):
            if method in self.polls:
                task.cancel()
        if self.running:
            await asyncio.wait(list(self.running))


def said(refusal: Refused) -> dict[str, Any]:
    """The refusal for the wire. Its traceback would keep the request, 6 MB at most, until the next collection of cycles."""
    refusal.__traceback__ = refusal.__context__ = None
    return refusal.as_error()


# ---- the asking end ---------------------------------------------------------------------------------------------------


class Client:
    """Asks verbs of one socket, from the CLI and from the harness.

    `patience` is how many seconds an unreachable host is tried again (None: for ever). A call that was under way when
    the connection broke is asked again, so what changes something carries a `cid` or a `key` that makes a repeat harmless.
    """

    def __init__(self, path: Path | str, patience: float | None = 0.0):
        self.path, self.patience = Path(path), patience
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task | None = None
        self._waiting: dict[int, asyncio.Future] = {}
        self._ids = 0
        self._connecting = asyncio.Lock()

    async def call(self, verb: str, /, timeout: float = POLL + 15, **params: Any) -> Any:
        """The verb's result; Refused when it says no, TimeoutError, or Unreachable when patience has run out."""
        loop = asyncio.get_running_loop()
        begun, pause = loop.time(), 0.1
        while True:
            try:
                async with asyncio.timeout(timeout):
                    return await self._ask(verb, params)
            except (ConnectionError, FileNotFoundError, asyncio.IncompleteReadError) as error:
                if self.patience is not None and loop.time() - begun >= self.patience:
                    raise Unreachable(f"Nobody answers on {self.path} ({error or type(error).__name__}).") from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def close(self) -> None:
        if self._writer:
            self._writer.close()
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._writer = self._reading = None

    async def _ask(self, verb: str, params: dict[str, Any]) -> Any:
        writer = await self._connected()
        self._ids += 1
        id_, future = self._ids, asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        try:
            writer.write(encode({"jsonrpc": "2.0", "id": id_, "method": verb, "params": params}))
            await writer.drain()
            reply = await future
        finally:
            self._waiting.pop(id_, None)
        if "error" in reply:
            raise Refused.from_error(reply["error"])
        return reply.get("result")

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None:
                # The host may answer with more than it takes: a page of events is longer than a request.
                reader, self._writer = await asyncio.open_unix_connection(self.path, limit=64 * LINE)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        error: Exception = ConnectionResetError("the host closed the connection")
        try:
            while line := await reader.readline():
                reply = json.loads(line)
                if reply.get("id") is None and "error" in reply:
                    error = Refused.from_error(reply["error"])
                elif (future := self._waiting.get(reply.get("id"))) and not future.done():
                    future.set_result(reply)
        except ConnectionError as broken:
            # A host that said why before it hung up is the better reason.
            error = error if isinstance(error, Refused) else broken
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(error)
            self._waiting = {}


async def ask(path: Path | str, verb: str, /, patience: float = 0.0, **params: Any) -> Any:
    """One call on a connection of its own."""
    client = Client(path, patience)
    try:
        return await client.call(verb, **params)
    finally:
        await client.close()
