"""The one way out of a container: the host's end of egress.sock, one relay per agent, on the daemon's loop.

CONNECT reaches what the agent's list names, resolved here and never a private address; a request for the model API goes
to where the host says, with the host's key. Everything else is refused with a sentence, counted and logged.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from broker import wire

from .egress_http import BadRequest, Head, read_head, refusal
from .egress_model import forward
from .egress_names import NotAllowed, allowed, resolve

log = logging.getLogger("hive.egress")

# The model API and the login hosts: what the Claude CLI cannot work without.
EVERYONE = (
    "api.anthropic.com:443",
    "claude.ai:443",
    "claude.com:443",
    "console.anthropic.com:443",
    "platform.claude.com:443",
)

# Connections of one agent at once; seconds to send a head, to read a refusal, to reach a host, and of silence in a tunnel.
CONNECTIONS = 64
HEAD_TIME, LINGER, CONNECT_TIME, SILENCE = 10.0, 1.0, 20.0, 900.0
CHUNK = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Relay:
    """One agent's way out. `counts` has its allowed and refused targets, for its page."""

    agent: str
    allow: frozenset[str]
    counts: Counter[str] = field(default_factory=Counter)
    open_now: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        try:
            await self._answer(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            # The daemon ends. Raised on, asyncio's stream protocol would report it as an error.
            pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open_now > 2 * CONNECTIONS:
            return
        try:
            async with asyncio.timeout(HEAD_TIME):
                head = await read_head(reader)
            if self.open_now > CONNECTIONS:
                raise NotAllowed(f"{self.agent} already has {CONNECTIONS} connections.")
            await WAYS.get(head.way, other)(self, head, reader, writer)
        except (BadRequest, NotAllowed) as no:
            await self._refuse(reader, writer, no)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, no: Exception) -> None:
        self.counts["refused"] += 1
        log.warning("%s: refused: %s", self.agent, no)
        writer.write(refusal(400 if isinstance(no, BadRequest) else 403, str(no)))
        writer.write_eof()
        # To close on what is unread would reset the connection, and the sentence would be lost.
        async with asyncio.timeout(LINGER):
            while await reader.read(CHUNK):
                pass


async def connect(relay: Relay, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A tunnel to an allowed host, connected to the very address that was checked."""
    host, port, literal = allowed(head.target, relay.allow)
    try:
        async with asyncio.timeout(CONNECT_TIME):
            there = await first_of(await resolve(host, port, literal), port)
    except (OSError, TimeoutError):
        relay.counts["unreachable"] += 1
        writer.write(refusal(502, f"{host}:{port} cannot be reached from the host."))
        return
    relay.counts[f"{host}:{port}"] += 1
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    try:
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))
    finally:
        there[1].close()


async def first_of(addresses: list[str], port: int) -> Streams:
    error: OSError = OSError("no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(address, port)
        except OSError as failed:
            error = failed
    raise error


async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Each piece as soon as it comes; the end of one direction is handed on and leaves the other open."""
    while True:
        async with asyncio.timeout(SILENCE):
            data = await source.read(CHUNK)
            if not data:
                break
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()


async def model(relay: Relay, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A request for the model API, which the host forwards in its own name."""
    relay.counts["model"] += 1
    await forward(head, reader, writer)


async def other(relay: Relay, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise NotAllowed(
        f"Only CONNECT and requests for the model API are served here, not {head.method} {head.target[:100]!r}."
    )


# How the request line looks -> who answers it.
WAYS: dict[str, Callable[[Relay, Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]] = {
    "authority": connect,
    "origin": model,
}


async def serve(path: Path, agent: str, allow: Collection[str], gid: int | None = None) -> asyncio.Server:
    """Listen on `path` for one agent, whose `allow` are `host[:port]`; `gid` is the group that can open the socket."""
    relay = Relay(agent, frozenset(entry.lower() for entry in allow))
    sock = wire.bind(path, gid)
    return await asyncio.start_unix_server(relay.serve, sock=sock, backlog=CONNECTIONS, limit=CHUNK)
