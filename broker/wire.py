"""The answering end of the line protocol: newline-delimited JSON-RPC 2.0 over unix sockets. It knows no Django.

`listen()` answers, `Client.call()` (client.py, and from here) asks, `Refused` is how a verb says no. Who asks is told by the
socket it came in on, never by what it writes.

A connection is in one of a few conditions: it waits for words, for the end of a line, for a turn of its socket's share
(`_stalled`), for a peer that reads (`_unread`); it takes no more (`_ended`), or is told why and read away (`_lingers`).
"""

import asyncio
import logging
import select
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from . import due, watch
from .client import Client, Unreachable, ask
from .jsonrpc import BODY, CODES, KINDS, LINE, POLL, Refused, decode, encode
from .later import Later
from .share import AT_ONCE, Share

__all__ = [
    "BODY", "CODES", "KINDS", "LINE", "POLL", "Client", "Peer", "Refused", "Unreachable", "ask", "decode", "encode",
    "listen",
]  # fmt: skip

log = logging.getLogger("hive.wire")

# The figures behind these limits: an endless line cost an unguarded server 6 s of CPU, unread replies 259 MiB.
CONNECTIONS = 16
IN_FLIGHT = 16
# Lines of one connection that are read before the loop turns to others.
PORTION = 16
# Seconds: of a connection on which nothing is under way; from a line's first byte to its last; until a reply is read.
IDLE, LINE_TIME, DRAIN = 30.0, 5.0, 5.0
# Who is turned away is told why, but of a flood only so many at a time.
LINGER, LINGER_READS, LINGERING = 0.5, 64, 16
BACKLOG = 64
SEND_BUFFER = 128 * 1024
# Bytes of replies that the socket does not take: with more the peer counts as one that does not read, until it has so few.
UNREAD, READ_AGAIN = 64 * 1024, 16 * 1024
IN, OUT = select.EPOLLIN, select.EPOLLOUT


class Peer(NamedTuple):
    """The other end of a connection: process, user and group, as the kernel says (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: socket.socket) -> "Peer":
        size = struct.calcsize("3i")
        return cls(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


# It raises Refused, at once or when awaited. A `Later` costs less than a coroutine, which has to be made a task.
Verb = Callable[[Peer, str, dict[str, Any]], Awaitable[Any]]
Session = Callable[[Peer, bytes, asyncio.StreamReader, asyncio.StreamWriter, Share], Awaitable[None]]


# ---- the answering end ------------------------------------------------------------------------------------------------


async def listen(
    path: Path,
    verb: Verb,
    *,
    session: Session | None = None,
    polls: frozenset[str] = frozenset({"recv", "renew", "login_wish"}),
    uids: Collection[int] | None = None,
    gid: int | None = None,
    connections: int = CONNECTIONS,
    at_once: int = AT_ONCE,
) -> watch.Listener:
    """Serve `verb(peer, method, params)` on `path`. A first `initialize` hands the connection to `session` (MCP).

    `polls` are the verbs that a hang-up cancels; everything else that was begun is finished, `at_once` of it at a time.
    `uids` are the users that may connect (None: whoever can open the socket); `gid` is the group that can open it.
    """
    door = Door(sys.intern(path.name), verb, session, polls, uids, connections, at_once)
    return watch.listen(path, gid, BACKLOG, door.welcome)


class Door:
    """One socket that is listened on: what its connections have in common."""

    __slots__ = ("_share", "at_once", "connections", "name", "open", "polls", "session", "uids", "verb")

    def __init__(
        self,
        name: str,
        verb: Verb,
        session: Session | None,
        polls: frozenset[str],
        uids: Collection[int] | None,
        connections: int,
        at_once: int,
    ):
        self.name, self.verb, self.session, self.polls, self.uids = name, verb, session, polls, uids
        self.connections, self.at_once = connections, at_once
        self.open = 0
        self._share: Share | None = None

    @property
    def share(self) -> Share:
        if self._share is None:
            self._share = Share(self.at_once)
        return self._share

    def welcome(self, sock: socket.socket) -> None:
        """Who is too many is told so; of a flood not even that."""
        if self.open >= self.connections + LINGERING:
            sock.close()
        else:
            self.open += 1
            Connection(self, sock).greet()


# What one read takes, whoever it is from: it is done with before the next.
READ = memoryview(bytearray(64 * 1024))
NEVER: due.Moment = set()


class Request:
    """One that is under way: what its future calls when it is done."""

    __slots__ = ("answered", "connection", "future", "id", "method", "polls")

    def __init__(self, connection: "Connection", answered: bool, id_: Any, method: str):
        self.connection, self.id = connection, id_
        self.answered = answered  # it has an id, so its peer waits for an answer
        self.polls = method in connection.door.polls  # a hang-up cancels it
        self.method = sys.intern(method) if self.polls else method
        self.future: asyncio.Future | Later

    def __call__(self, future: asyncio.Future | Later) -> None:
        self.connection.done(self)


class Connection:
    """One peer, over its socket itself: ten thousand of them that wait cost some hundred bytes each."""

    __slots__ = (
        "_ended", "_events", "_late", "_lingers", "_moment", "_out", "_rest", "_scanned", "_sock", "_stalled", "_unread",
        "_unsent", "_watch", "door", "peer", "running",
    )  # fmt: skip

    def __init__(self, door: Door, sock: socket.socket):
        self.door, self._sock, self._watch = door, sock, watch.Watch.here()
        self.peer = Peer.of(sock)
        self.running: list[Request] = []
        self._events = 0  # what the socket is watched for
        self._rest = bytearray()  # what has come and is not taken yet
        self._scanned = 0  # so much of it has no line's end
        self._out: list[bytes] = []  # what this turn of the loop has to say
        self._unsent: bytes | memoryview = b""  # what the socket did not take
        self._stalled = False  # its next line waits for a place, for a rest to end, or for answers to be read
        self._unread = False  # its peer does not read what it is told
        self._late = ""  # what is waited for: "" nothing, else "words", "line", "reader" or "end"
        self._moment: due.Moment = NEVER
        self._ended = False  # no more will be taken from it
        self._lingers = 0  # reads left of what is thrown away

    def greet(self) -> None:
        door = self.door
        self._watch_for(IN)
        if door.uids is not None and self.peer.uid not in door.uids:
            self._turn_away(Refused("refused", "This socket belongs to another user.", "wrong_user"))
        elif door.open > door.connections:
            full = f"This socket already has {door.connections} connections."
            self._turn_away(Refused("busy", full, "too_many_connections"))
        else:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._expect("words")

    # ---- the socket

    def ready(self, events: int) -> None:
        if self._events & OUT:
            self._send()
        if self._events & IN and events & ~OUT:
            self._receive()

    def _receive(self) -> None:
        try:
            count = self._sock.recv_into(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lose()
            return
        if not count:
            # It has said its last word, and may still read what it is told.
            self._watch_for(self._events & ~IN)
            self._end()
        elif self._lingers:
            self._lingers -= 1
            if not self._lingers:
                self._lose()
        elif not self._ended:
            self._rest += READ[:count]
            if not self._stalled:
                self._take_lines()

    def _watch_for(self, events: int) -> None:
        if events != self._events and not self._lost():
            self._watch.change(self._sock.fileno(), self, self._events, events)
            self._events = events

    def _lost(self) -> bool:
        return self._sock.fileno() < 0

    def _lose(self) -> None:
        """At once, with what it was still to be told."""
        if self._lost():
            return
        self._watch_for(0)
        self._sock.close()
        self.door.open -= 1
        self._rest.clear()
        self._out, self._unsent = [], b""
        self._end_polls()
        self._expect("")

    # ---- what comes

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
        self._watch_for(self._events & ~IN)

    def _go_on(self) -> None:
        """What a peer that has gone had sent is done for nobody: of a flood, for minutes."""
        if self._gone():
            self._lose()
            return
        self._stalled = False
        self._take_lines()
        if not self._stalled and not self._unread:
            self._watch_for(self._events | IN)

    def _gone(self) -> bool:
        """Whether the peer has closed both ways (poll(2), POLLHUP), not only said its last word."""
        if self._lost():
            return True
        ends = select.poll()
        ends.register(self._sock, 0)
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
            self._begin(request, Request(self, "id" in request, id_, str(method)))

    def _begin(self, asked: dict[str, Any], request: Request) -> None:
        try:
            answer = self._asked(asked)
        except Exception as error:  # whatever broke in a verb, its caller hears of it and the daemon goes on
            self._failed(request, error)
            return
        request.future = answer if isinstance(answer, Later) else asyncio.ensure_future(answer)
        # A poll needs no place for as long as it waits.
        if not request.polls:
            self.door.share.places -= 1
        self.running.append(request)
        request.future.add_done_callback(request)

    def _asked(self, request: dict[str, Any]) -> Awaitable[Any]:
        method, params = request.get("method"), request.get("params", {})
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            raise Refused("invalid_request", 'A request needs "jsonrpc": "2.0" and a "method".')
        if not isinstance(params, dict):
            raise Refused("bad_params", "Params are given by name, as an object.")
        return self.door.verb(self.peer, method, params)

    # ---- what is answered

    def done(self, request: Request) -> None:
        future = request.future
        self.running.remove(request)
        if not request.polls:
            self.door.share.give()
        if not future.cancelled():
            failure = future.exception()
            self._failed(request, failure) if failure else self._succeeded(request, future.result())
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
            self._watch.after(self._flush)
        self._out.append(encode({"jsonrpc": "2.0", "id": id_, **what}))

    def _flush(self) -> None:
        if self._out and not self._lost():
            waits, self._unsent = bool(self._unsent), b"".join([self._unsent, *self._out])
            self._out.clear()
            self._sent() if waits else self._send()

    def _send(self) -> None:
        try:
            # A view, for what is left of a long answer would be copied again and again.
            self._unsent = memoryview(self._unsent)[self._sock.send(self._unsent) :] or b""
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._lose()
            return
        self._sent()

    def _sent(self) -> None:
        """A peer that does not read its replies loses the connection, not our memory."""
        left = len(self._unsent)
        self._watch_for(self._events | OUT if left else self._events & ~OUT)
        if not left and self._is_over():
            self._lose()
        elif left > UNREAD and not self._unread:
            self._unread = True
            self._watch_for(OUT)
            self._expect("reader")
        elif left <= READ_AGAIN and self._unread and not self._is_over():
            self._read_again()

    def _read_again(self) -> None:
        self._unread = False
        self._expect("end" if self._lingers else "")
        if self._lingers:
            self._watch_for(self._events | IN)
        elif not self._stalled and not self._ended:
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
        if self._late:
            self._moment.discard(self)
            self._moment = NEVER
        if what:
            seconds = {"words": IDLE, "line": LINE_TIME, "reader": DRAIN, "end": LINGER}[what]
            self._moment = due.expect(self, seconds)
        self._late = what

    def too_late(self) -> None:
        if self._late in ("reader", "end"):
            self._lose()
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
        for request in list(self.running):
            if request.polls:
                request.future.cancel()

    def _close(self) -> None:
        """Once it has read what was said to it."""
        self._lingers = 0
        self._flush()
        self._watch_for(self._events & OUT)
        if not self._unsent:
            self._lose()
        elif not self._lost():
            self._expect("reader")

    def _is_over(self) -> bool:
        """Nothing of it is under way and nothing more is taken: what is left is that it reads what it was told."""
        return self._ended and not self.running and not self._lingers

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
        self._flush()
        if self._lost():
            return
        self._expect("")
        self._watch_for(0)
        self._ended = True
        sock, begun, unsent = socket.socket(fileno=self._sock.detach()), bytes(self._rest), self._unsent
        self._rest.clear()
        self._unsent = b""
        watch.begin(converse(self.door, session, self.peer, line, sock, begun, unsent))


async def converse(
    door: Door, session: Session, peer: Peer, line: bytes, sock: socket.socket, begun: bytes, unsent: bytes | memoryview
) -> None:
    """An MCP session; `unsent` is what its peer was told before and has not read."""
    try:
        reader, writer = await watch.streams(sock, LINE, begun)
        try:
            writer.write(unsent)
            await session(peer, line, reader, writer, door.share)
        finally:
            writer.close()
            asyncio.get_running_loop().call_later(DRAIN, hang_up, writer.transport)
    except (ConnectionError, TimeoutError, asyncio.CancelledError):
        # Cancelled: the loop ends, and nobody awaits a session.
        pass
    finally:
        door.open -= 1


def hang_up(transport: asyncio.WriteTransport) -> None:
    """On who has not read what it was told. asyncio cannot abort what it has closed."""
    if transport.get_write_buffer_size():
        transport.abort()


def said(refusal: Refused) -> dict[str, Any]:
    """The refusal for the wire. Its traceback would keep the request, 6 MB at most, until the next collection of cycles."""
    refusal.__traceback__ = refusal.__context__ = None
    return refusal.as_error()
