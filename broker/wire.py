"""The answering end of the line protocol: newline-delimited JSON-RPC 2.0 over unix sockets. It knows no Django.

`listen()` answers, `Client.call()` (client.py, and from here) asks, `Refused` is how a verb says no. Who asks is told by the
socket it came in on, never by what it writes.

A connection is in one of a few conditions: it waits for words, for the end of a line, for a turn of its socket's share
(`_stalled`), for a peer that reads (`_unread`); it takes no more (`_ended`), or is told why and read away (`_lingers`).
"""

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .client import Client, Unreachable, ask
from .jsonrpc import BODY, CODES, KINDS, LINE, POLL, Refused, decode, encode
from .later import Later
from .share import AT_ONCE, Share

__all__ = [
    "BODY", "CODES", "KINDS", "LINE", "POLL", "Client", "Peer", "Refused", "Unreachable", "ask", "bind", "decode",
    "encode", "listen",
]  # fmt: skip

log = logging.getLogger("hive.wire")

# The figures behind these limits: an endless line cost an unguarded server 6 s of CPU, unread replies 259 MiB.
CONNECTIONS = 16
IN_FLIGHT = 16
# Lines of one connection that are read before the loop turns to others.
PORTION = 16
# Seconds: of a connection on which nothing is under way; from a line's first byte to its last; until a reply is read.
IDLE, LINE_TIME, DRAIN = 30.0, 5.0, 5.0
# How often it is looked who has been silent too long.
TICK = 0.25
# Who is turned away is told why, but of a flood only so many at a time.
LINGER, LINGER_READS, LINGERING = 0.5, 64, 16
BACKLOG = 64
SEND_BUFFER = 128 * 1024


class Peer(NamedTuple):
    """The other end of a connection: process, user and group, as the kernel says (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: socket.socket) -> "Peer":
        size = struct.calcsize("3i")
        return cls(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


# It raises Refused, at once or when awaited. A future costs less than a coroutine, which has to be made a task.
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
    door = Door(path.name, verb, session, polls, uids, connections, Share(at_once))
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: Connection(door), sock=bind(path, gid), backlog=BACKLOG)


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


@dataclass
class Door:
    """One socket that is listened on: what its connections have in common."""

    name: str
    verb: Verb
    session: Session | None
    polls: frozenset[str]
    uids: frozenset[int] | None
    connections: int
    share: Share
    open: "set[Connection]" = field(default_factory=set)
    sessions: set[asyncio.Task] = field(default_factory=set)
    # Who has to say or to read something by when, on the loop's clock: one timer for all of them.
    due: "dict[Connection, float]" = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None

    def expect(self, connection: "Connection", seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.due[connection] = loop.time() + seconds
        if self.timer is None:
            self.timer = loop.call_later(TICK, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for connection, at in list(self.due.items()):
            if at <= loop.time():
                del self.due[connection]
                connection.too_late()
        self.timer = loop.call_later(TICK, self._look) if self.due else None


# What one read takes, whoever it is from: a protocol is done with it before the loop reads again.
READ = memoryview(bytearray(64 * 1024))


class Request(NamedTuple):
    """One that is under way."""

    answered: bool  # it has an id, so its peer waits for an answer
    id: Any
    method: str


class Connection(asyncio.BufferedProtocol):
    """One peer. It has no task and no stream of its own: ten thousand of them wait at the price of their buffers."""

    __slots__ = (
        "_ended", "_late", "_lingers", "_out", "_rest", "_scanned", "_stalled", "_unread", "door", "peer", "running",
        "transport",
    )  # fmt: skip

    def __init__(self, door: Door):
        self.door = door
        self.running: dict[asyncio.Future | Later, Request] = {}
        self._rest = bytearray()  # what has come and is not taken yet
        self._scanned = 0  # so much of it has no line's end
        self._out: list[bytes] = []
        self._stalled = False  # its next line waits for a place, for a rest to end, or for answers to be read
        self._unread = False  # its peer does not read what it is told
        self._late = ""  # what is waited for: "" nothing, else "words", "line" or "reader"
        self._ended = False  # no more will be taken from it
        self._lingers = 0  # reads left of what is thrown away

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        door, sock = self.door, transport.get_extra_info("socket")
        door.open.add(self)
        self.peer = Peer.of(sock)
        if len(door.open) > door.connections + LINGERING:
            transport.abort()
        elif door.uids is not None and self.peer.uid not in door.uids:
            self._turn_away(Refused("refused", "This socket belongs to another user.", "wrong_user"))
        elif len(door.open) > door.connections:
            full = f"This socket already has {door.connections} connections."
            self._turn_away(Refused("busy", full, "too_many_connections"))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._expect("words")

    # ---- what comes

    def get_buffer(self, sizehint: int) -> memoryview:
        return READ

    def buffer_updated(self, count: int) -> None:
        if self._lingers:
            self._lingers -= 1
            if not self._lingers:
                self.transport.abort()
        elif not self._ended:
            self._rest += READ[:count]
            if not self._stalled:
                self._take_lines()

    def eof_received(self) -> bool:
        """It has said its last word, and may still read what it is told."""
        self._end()
        return True

    def _take_lines(self) -> None:
        rest, share = self._rest, self.door.share
        for _ in range(PORTION):
            if self._ended or self._unread:
                return
            if rest.startswith(b"\n"):
                del rest[: len(rest) - len(rest.lstrip(b"\n"))]
            end = rest.find(b"\n", self._scanned)
            if end > LINE or (end < 0 and len(rest) > LINE):
                self._turn_away(Refused("invalid_request", f"A line is at most {LINE} bytes.", "line_too_long"))
                return
            if end < 0:
                self._scanned = len(rest)
                self._wait_for_more()
                return
            # What waits for its turn waits as bytes, and the rest of it in the peer's own memory.
            if not share.places or share.rest():
                self._stall()
                share.wait(self._go_on)
                return
            line = bytes(rest[:end])
            del rest[: end + 1]
            self._scanned = 0
            self._expect("")
            self._take(line)
        self._stall()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _stall(self) -> None:
        self._stalled = True
        self._expect("")
        self.transport.pause_reading()

    def _go_on(self) -> None:
        """What a peer that has gone had sent is done for nobody: of a flood, for minutes."""
        if self._gone():
            self.transport.abort()
            return
        self._stalled = False
        self._take_lines()
        if not self._stalled and not self._unread:
            self.transport.resume_reading()

    def _gone(self) -> bool:
        """Whether the peer has closed both ways (poll(2), POLLHUP), not only said its last word."""
        if self.transport.is_closing():
            return True
        ends = select.poll()
        ends.register(self.transport.get_extra_info("socket"), 0)
        return bool(ends.poll(0))

    def _take(self, line: bytes) -> None:
        """Begin to answer the request.

        A frame of its own, because a line of 256 KiB can be 6 MB of objects, which must not outlive their answer.
        """
        try:
            request = self.door.share.read(line)
        except Refused as refusal:
            self._say(None, error=said(refusal))
            return
        id_, method = request.get("id"), request.get("method")
        if method == "initialize" and self.door.session and not self.running:
            self._hand_over(line, self.door.session)
        elif len(self.running) >= IN_FLIGHT:
            self._say(id_, error=said(Refused("busy", "Too many requests are under way here.")))
        elif not isinstance(id_, str | int | None) or isinstance(id_, bool):
            self._say(None, error=said(Refused("invalid_request", "An id is a string or a whole number.")))
        else:
            self._begin(request, Request("id" in request, id_, str(method)))

    def _begin(self, request: dict[str, Any], under_way: Request) -> None:
        try:
            asked = self._asked(request)
        except Exception as error:  # whatever broke in a verb, its caller hears of it and the daemon goes on
            self._failed(under_way, error)
            return
        future = asked if isinstance(asked, Later) else asyncio.ensure_future(asked)
        # A poll needs no place for as long as it waits.
        if under_way.method not in self.door.polls:
            self.door.share.places -= 1
        self.running[future] = under_way
        future.add_done_callback(self._done)

    def _asked(self, request: dict[str, Any]) -> Awaitable[Any]:
        method, params = request.get("method"), request.get("params", {})
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            raise Refused("invalid_request", 'A request needs "jsonrpc": "2.0" and a "method".')
        if not isinstance(params, dict):
            raise Refused("bad_params", "Params are given by name, as an object.")
        return self.door.verb(self.peer, method, params)

    # ---- what is answered

    def _done(self, future: asyncio.Future | Later) -> None:
        under_way = self.running.pop(future)
        if under_way.method not in self.door.polls:
            self.door.share.give()
        if not future.cancelled():
            failure = future.exception()
            self._failed(under_way, failure) if failure else self._succeeded(under_way, future.result())
        if self.running or self._lingers:
            return
        self._close() if self._ended else self._wait_for_more()

    def _succeeded(self, request: Request, result: Any) -> None:
        if request.answered:
            self._say(request.id, result=result)

    def _failed(self, request: Request, failure: BaseException) -> None:
        if not isinstance(failure, Refused):
            log.error("%s over %s failed", request.method[:40], self.door.name, exc_info=failure)
            failure = Refused("internal", f"{request.method[:40]} failed inside the hive: its log says why.")
        if request.answered:
            self._say(request.id, error=said(failure))

    def _say(self, id_: Any, **what: Any) -> None:
        if not self._out:
            # What one turn of the loop has to say to a peer is one write.
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(encode({"jsonrpc": "2.0", "id": id_, **what}))

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self.transport.is_closing():
            self.transport.write(b"".join(out))

    def pause_writing(self) -> None:
        """A peer that does not read its replies loses the connection, not our memory."""
        self._unread = True
        self.transport.pause_reading()
        self._expect("reader")

    def resume_writing(self) -> None:
        self._unread = False
        self._expect("")
        if not self._stalled and not self._ended:
            self._go_on()

    # ---- silence and the end

    def _wait_for_more(self) -> None:
        """Silence is cut only while nothing of this connection is under way, a line that was begun always."""
        if self._stalled or self._unread or self._ended:
            return
        if self._rest:
            if self._late != "line":
                self._expect("line")
        elif not self.running:
            self._expect("words")

    def _expect(self, what: str) -> None:
        """Of the peer, within its time: `words`, the end of a `line`, a `reader` of its replies, or nothing at all."""
        if what:
            self.door.expect(self, {"words": IDLE, "line": LINE_TIME, "reader": DRAIN, "end": LINGER}[what])
        elif self._late:
            self.door.due.pop(self, None)
        self._late = what

    def too_late(self) -> None:
        if self._late in ("reader", "end"):
            self.transport.abort()
        else:
            self._end()

    def _end(self) -> None:
        """Nothing more is taken from it; what it waits for is cancelled, what it has begun is finished."""
        self._end_polls()
        self._expect("")
        if not self.running:
            self._close()

    def _end_polls(self) -> None:
        self._ended = True
        for future, request in list(self.running.items()):
            if request.method in self.door.polls:
                future.cancel()

    def _close(self) -> None:
        """Once it has read what was said to it."""
        if not self.transport.is_closing():
            self._flush()
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._expect("reader")

    def connection_lost(self, error: Exception | None) -> None:
        self.door.open.discard(self)
        self._rest.clear()
        self._end()
        self.door.due.pop(self, None)

    def _turn_away(self, refusal: Refused) -> None:
        """Say why, then read away for a while what is still coming: a close with unread bytes would take the reply along."""
        self._say(None, error=said(refusal))
        self._rest.clear()
        self._lingers = LINGER_READS
        self._end_polls()
        self._expect("end")

    # ---- MCP

    def _hand_over(self, line: bytes, session: Session) -> None:
        """The connection is an MCP session from now on, which reads and writes streams."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(LINE, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        self._expect("")
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        reader.feed_data(bytes(self._rest))
        self._rest.clear()
        self._ended = True
        writer = asyncio.StreamWriter(self.transport, protocol, reader, loop)
        task = loop.create_task(self._session(session(self.peer, line, reader, writer, self.door.share)))
        self.door.sessions.add(task)
        task.add_done_callback(self.door.sessions.discard)

    async def _session(self, talk: Awaitable[None]) -> None:
        try:
            await talk
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            # Cancelled: the loop ends, and nobody awaits a session.
            pass
        finally:
            self.door.open.discard(self)
            self._close()


def said(refusal: Refused) -> dict[str, Any]:
    """The refusal for the wire. Its traceback would keep the request, 6 MB at most, until the next collection of cycles."""
    refusal.__traceback__ = refusal.__context__ = None
    return refusal.as_error()
