"""The one way out of a container: the host's end of egress.sock, one relay per agent, on the daemon's loop.

CONNECT and plain HTTP reach what the agent's list names, resolved here and never a private address; a request for the model
API goes to where the host says, with the host's key. Everything else is refused with a sentence, counted, logged and told.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from broker import watch

from .egress_exchange import Streams, exchange, rewritten
from .egress_http import BadRequest, Count, Head, read_head, refusal
from .egress_model import forward
from .egress_names import NotAllowed, allowed, own_page, resolve
from .egress_told import TRAFFIC, Refusals, Traffic

log = logging.getLogger("hive.egress")

# The model API and the login hosts: what the Claude CLI cannot work without.
EVERYONE = (
    "api.anthropic.com:443",
    "claude.ai:443",
    "claude.com:443",
    "console.anthropic.com:443",
    "platform.claude.com:443",
)

# Of one agent at once: connections, and names that are looked up.
CONNECTIONS, LOOKUPS = 64, 4
# Seconds to send a head, to read a refusal, to reach a host, and of silence in a tunnel.
HEAD_TIME, LINGER, CONNECT_TIME, SILENCE = 10.0, 1.0, 20.0, 900.0
CHUNK = 64 * 1024

# Of a request by plain HTTP: what would tell the server about the container.
DROPPED = {"proxy-authorization", "forwarded", "via", "x-forwarded-for"}
PLAIN = re.compile(r"http://([!-.0-~]+)(/[!-~]*)?", re.IGNORECASE)


@dataclass
class Relay:
    """One agent's way out."""

    agent: str
    allow: frozenset[str]
    traffic: Traffic = field(default_factory=Traffic)
    refusals: Refusals = field(default_factory=lambda: Refusals(lambda _: None))
    lookups: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKUPS))

    @property
    def counts(self) -> Counter[str]:
        return self.traffic.counts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.traffic.open += 1
        try:
            await self._answer(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            # The daemon ends. Raised on, asyncio's stream protocol would report it as an error.
            pass
        finally:
            self.traffic.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.traffic.open > 2 * CONNECTIONS:
            return
        target = "?"
        try:
            async with asyncio.timeout(HEAD_TIME):
                head = await read_head(reader, self.traffic.turn)
            target = head.target[:100]
            if self.traffic.open > CONNECTIONS:
                raise NotAllowed(f"{self.agent} already has {CONNECTIONS} connections.")
            await WAYS[head.way](self, head, reader, writer)
        except (BadRequest, NotAllowed) as no:
            await self._refuse(reader, writer, no, target)

    async def _refuse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, no: BadRequest | NotAllowed, target: str
    ) -> None:
        self.counts["refused"] += 1
        # A log that took all of them would be the agent's to fill.
        if self.refusals.note(target, str(no), getattr(no, "entry", "")):
            log.warning("%s: refused: %s", self.agent, no)
        writer.write(refusal(400 if isinstance(no, BadRequest) else 403, str(no)))
        writer.write_eof()
        # To close on what is unread would reset the connection, and the sentence would be lost.
        async with asyncio.timeout(LINGER):
            while await reader.read(CHUNK):
                await self.traffic.turn()


async def connect(relay: Relay, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A tunnel to an allowed host, connected to the very address that was checked."""
    there = await reach(relay, head.target, writer)
    if there is None:
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    traffic = relay.traffic
    try:
        await asyncio.gather(pipe(reader, there[1], traffic.up), pipe(there[0], writer, traffic.down))
    finally:
        there[1].close()


async def plain(relay: Relay, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request by plain HTTP to an allowed host: what apt and old mirrors speak."""
    found = PLAIN.fullmatch(head.target)
    if not found:
        raise NotAllowed(
            f"Only CONNECT, http:// and requests for the model API are served here, not {head.method} {head.target[:100]!r}."
        )
    authority, path = found[1], found[2] or "/"
    request = rewritten(head, path, authority, DROPPED, {})
    there = await reach(relay, authority if re.search(r":[0-9]+$", authority) else f"{authority}:80", writer)
    if there is not None:
        await exchange(head, request, (reader, writer), there, relay.traffic)


async def reach(relay: Relay, target: str, writer: asyncio.StreamWriter) -> Streams | None:
    """A connection to a target of the list, to the very address that was checked; None when it was told that there is none."""
    host, port, literal = allowed(target, relay.allow)
    try:
        async with asyncio.timeout(CONNECT_TIME):
            async with relay.lookups:
                addresses = await resolve(host, port, literal)
            there = await first_of(addresses, port)
    except (OSError, TimeoutError):
        relay.counts["unreachable"] += 1
        writer.write(refusal(502, f"{host}:{port} cannot be reached from the host."))
        return None
    if own_page(there[1]):
        there[1].close()
        raise NotAllowed(f"{host}:{port} is a page of this hive, which is the operator's alone.")
    relay.counts[f"{host}:{port}"] += 1
    return there


async def first_of(addresses: list[str], port: int) -> Streams:
    error: OSError = OSError("no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(address, port)
        except OSError as failed:
            error = failed
    raise error


async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Count) -> None:
    """Each piece as soon as it comes; the end of one direction is handed on and leaves the other open."""
    while True:
        async with asyncio.timeout(SILENCE):
            data = await source.read(CHUNK)
            if not data:
                break
            await count(len(data))
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()


async def model(relay: Relay, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A request for the model API, which the host forwards in its own name."""
    relay.counts["model"] += 1
    await forward(head, (reader, writer), relay.traffic)


# How the request line looks -> who answers it.
WAYS: dict[str, Callable[[Relay, Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]] = {
    "authority": connect,
    "origin": model,
    "absolute": plain,
}


class WayOut:
    """The socket of one agent, whose relay is made once somebody connects."""

    __slots__ = ("agent", "allow", "relay", "tell")

    def __init__(self, agent: str, allow: tuple[str, ...], tell: Callable[[dict[str, Any]], Any]):
        self.agent, self.allow, self.tell = agent, allow, tell
        self.relay: Relay | None = None

    def welcome(self, sock: socket.socket) -> None:
        self.relay = self.relay or self._opened()
        watch.begin(self._talk(self.relay, sock))

    def _opened(self) -> Relay:
        own = [entry for entry in self.allow if entry not in EVERYONE]
        traffic = TRAFFIC.setdefault(self.agent, Traffic())
        traffic.turns = asyncio.Lock()  # of this loop
        return Relay(self.agent, _lowered(self.allow), traffic, Refusals(self.tell, own))

    async def _talk(self, relay: Relay, sock: socket.socket) -> None:
        await relay.serve(*await watch.streams(sock, CHUNK))


async def serve(
    path: Path,
    agent: str,
    allow: Collection[str],
    gid: int | None = None,
    tell: Callable[[dict[str, Any]], Any] = lambda _: None,
) -> watch.Listener:
    """Listen on `path` for one agent, whose `allow` are `host[:port]`; `gid` is the group that can open the socket.

    `tell` hears of refusals.
    """
    return watch.listen(path, gid, CONNECTIONS, WayOut(agent, tuple(allow), tell).welcome)


@lru_cache
def _lowered(allow: tuple[str, ...]) -> frozenset[str]:
    """Most agents have the same list, which is kept once."""
    return frozenset(entry.lower() for entry in allow)
