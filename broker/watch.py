"""Thousands of sockets that mostly wait, on one loop: an epoll of their own (epoll(7)) that the loop looks at as one.

asyncio keeps two kilobytes for each socket that listens and as much for each connection; here it is an entry of a table. And
what one turn of the loop does for them is bounded. It knows no Django.
"""

import asyncio
import contextlib
import errno
import logging
import os
import select
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger("hive.watch")

# Of the sockets that are ready so many are seen to in one turn of the loop: a connection is accepted, or read from once.
TURN = 64
# What says that there is no room for one more connection: then seconds until that socket tries again, and between two words.
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
AGAIN, SAID = 1.0, 10.0


class Ready(Protocol):
    """What is told that its socket is: `events` are those of epoll. It may find that there is nothing after all."""

    def ready(self, events: int) -> None: ...


class Watch:
    """The sockets of one loop."""

    __slots__ = ("_after", "_epoll", "_of", "_said", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self._of: dict[int, Ready] = {}
        self._epoll = select.epoll()
        self._after: list[Callable[[], None]] = []
        self._said = 0.0
        loop.add_reader(self._epoll.fileno(), self.look)

    @classmethod
    def here(cls) -> "Watch":
        """That of the running loop."""
        global _watch
        loop, watch = asyncio.get_running_loop(), _watch
        if watch is None or watch.loop is not loop:
            # Another loop goes on with its own.
            _watch = watch = cls(loop)
        return watch

    def change(self, fd: int, one: Ready, before: int, events: int) -> None:
        """Tell it of these events, and of a hang-up; of none at all when there are none. `before` is what it was told of."""
        if not before:
            self._epoll.register(fd, events)
            self._of[fd] = one
        elif events:
            self._epoll.modify(fd, events)
        else:
            self._epoll.unregister(fd)
            del self._of[fd]

    def look(self) -> None:
        for fd, events in self._epoll.poll(0, TURN):
            # One that was closed within this turn is told nothing.
            if one := self._of.get(fd):
                one.ready(events)

    def after(self, do: Callable[[], None]) -> None:
        """Do it once the loop has seen to what is ready now: what many of them ask for is one entry of its list."""
        if not self._after:
            self.loop.call_soon(self._do_after)
        self._after.append(do)

    def _do_after(self) -> None:
        some, self._after = self._after, []
        for do in some:
            try:
                do()
            except Exception as error:  # one that fails keeps no other from being done
                self.loop.call_exception_handler({"message": f"{do} failed", "exception": error})

    def full(self, error: OSError) -> None:
        """It is said, but in a flood not each time."""
        if time.monotonic() > self._said + SAID:
            self._said = time.monotonic()
            log.error("no more connections can be taken for now: %s", error.strerror)


_watch: Watch | None = None


class Listener:
    """A socket that is listened on: `welcome` gets each connection. Closed, it takes no more and leaves those it had."""

    __slots__ = ("_events", "_sock", "_watch", "_welcome")

    def __init__(self, sock: socket.socket, welcome: Callable[[socket.socket], None], backlog: int):
        sock.setblocking(False)
        sock.listen(backlog)
        self._sock, self._welcome, self._watch = sock, welcome, Watch.here()
        self._events = 0
        self._listen(select.EPOLLIN)

    def ready(self, events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in FULL:
                raise
            # Ready all the while, it would keep the loop busy.
            self._listen(0)
            self._watch.full(error)
            self._watch.loop.call_later(AGAIN, self._listen, select.EPOLLIN)
            return
        sock.setblocking(False)
        self._welcome(sock)

    def close(self) -> None:
        self._listen(0)
        self._sock.close()

    def _listen(self, events: int) -> None:
        if self._sock.fileno() >= 0 and events != self._events:
            self._watch.change(self._sock.fileno(), self, self._events, events)
            self._events = events


def listen(path: Path, gid: int | None, backlog: int, welcome: Callable[[socket.socket], None]) -> Listener:
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
    return Listener(sock, welcome, backlog)


# ---- a connection that is asyncio's after all ------------------------------------------------------------------------


async def streams(
    sock: socket.socket, limit: int, begun: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Of a connected socket; `begun` is what was read from it before."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit, loop)
    reader.feed_data(begun)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


_tasks: set[asyncio.Task] = set()


def begin(talk: Coroutine[Any, Any, None]) -> None:
    """As a task that is kept until it ends: the loop itself would forget it."""
    task = asyncio.get_running_loop().create_task(talk)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
