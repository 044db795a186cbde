"""What a hostile agent does to its own socket, as a process of its own: `python attacks.py NAME SOCKET SECONDS`.

Only the standard library, as inside a container. An attack that loses a connection opens the next.
"""

import contextlib
import itertools
import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator

CONNECTIONS = 16


def opened(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(1)
    # A full backlog is what a flood brings about: not a reason for the flood to end.
    for _ in range(100):
        with contextlib.suppress(BlockingIOError, TimeoutError):
            sock.connect(path)
            return sock
        time.sleep(0.01)
    raise ConnectionRefusedError(path)


def line(method: str, id_: int | None = 1, **params: object) -> bytes:
    request = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(request if id_ is None else request | {"id": id_}).encode() + b"\n"


def pour(
    path: str, end: float, pieces: Callable[[], Iterator[bytes]], reads: bool = True, most: int = CONNECTIONS
) -> None:
    """Write those pieces on as many connections as there may be, each as fast as it is taken."""
    chosen = selectors.DefaultSelector()
    running: dict[socket.socket, tuple[Iterator[bytes], bytes]] = {}

    def begin() -> None:
        sock = opened(path)
        sock.setblocking(False)
        running[sock] = (pieces(), b"")
        chosen.register(sock, selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0))

    while time.monotonic() < end:
        while len(running) < most:
            begin()
        for key, events in chosen.select(0.1):
            sock = key.fileobj
            try:
                if events & selectors.EVENT_READ and not sock.recv(1 << 20):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    source, rest = running[sock]
                    rest = rest or next(source)
                    running[sock] = source, rest[sock.send(rest) :]
            except BlockingIOError:
                pass
            except (OSError, StopIteration):
                chosen.unregister(sock)
                del running[sock]
                sock.close()


def over_and_over(piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        while True:
            yield piece

    return pieces


def endless_line(path: str, end: float) -> None:
    pour(path, end, over_and_over(b"x" * 65536))


def unread_replies(path: str, end: float) -> None:
    pour(path, end, over_and_over(line("why") * 100), reads=False)


def nested_json(path: str, end: float) -> None:
    pour(path, end, over_and_over(b"[" * 250_000 + b"\n"))


def wide_json(path: str, end: float) -> None:
    """The most objects that a line holds, in events, whose payload is taken as it is."""
    numbers = itertools.count(1)

    def pieces() -> Iterator[bytes]:
        while True:
            event = b'{"seq":%d,"at":"2026-01-01T00:00:00Z","kind":"x","payload":{"x":[%s{}]}}' % (
                next(numbers),
                b"{}," * 80_000,
            )
            yield b'{"jsonrpc":"2.0","id":1,"method":"events","params":{"turns":[],"rows":[%s]}}\n' % event

    pour(path, end, pieces)


def huge_numbers(path: str, end: float) -> None:
    numbers = (b"9" * 4000, b"9" * 200_000, b"1e999", b"-1e999", b"2000000000", b"0." + b"1" * 200_000)
    lines = [
        b'{"jsonrpc":"2.0","id":1,"method":"recv","params":{"turn":"t-12345678","wait":%s}}\n' % n for n in numbers
    ]
    pour(path, end, over_and_over(b"".join(lines)))


def thousand_connections(path: str, end: float) -> None:
    held: list[socket.socket] = []
    while time.monotonic() < end:
        while len(held) < 1000 and time.monotonic() < end:
            held.append(opened(path))
        time.sleep(0.1)
        for sock in held:
            sock.close()
        held.clear()


def slow_loris(path: str, end: float, byte: bytes = b"{", connections: int = CONNECTIONS) -> None:
    """A byte now and then on every connection, and never the end of a line."""
    held: list[socket.socket] = []
    while time.monotonic() < end:
        while len(held) < connections:
            held.append(opened(path))
        for sock in list(held):
            try:
                sock.send(byte)
            except OSError:
                held.remove(sock)
                sock.close()
        time.sleep(0.2)


def half_open(path: str, end: float) -> None:
    """Half a line each and the writing end shut, or nothing at all, and the next."""
    while time.monotonic() < end:
        held = [opened(path) for _ in range(CONNECTIONS)]
        for number, sock in enumerate(held):
            with contextlib.suppress(OSError):
                sock.send(b'{"jsonrpc":' if number % 2 else b"")
                sock.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        for sock in held:
            sock.close()


def flood_of_reads(path: str, end: float) -> None:
    pour(path, end, over_and_over(line("why") * 100))


def flood_of_messages(path: str, end: float) -> None:
    pour(
        path,
        end,
        over_and_over(line("send", to="operator", body="x" * 60_000) + line("send", to="operator", body="y") * 50),
    )


def flood_of_polls(path: str, end: float) -> None:
    pour(
        path,
        end,
        over_and_over(line("recv", turn="t-12345678", wait=60) * 50 + line("renew", turn="t-12345678", wait=20)),
    )


def flood_without_ids(path: str, end: float) -> None:
    pour(
        path,
        end,
        over_and_over(line("why", None) * 100 + line("hello", None, harness="h-12345678", cli_version="x", seq=0)),
    )


def flood_of_tools(path: str, end: float) -> None:
    """The same by way of MCP, replies unread."""

    def pieces() -> Iterator[bytes]:
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        yield line("initialize", **hello) + line("notifications/initialized", None)
        while True:
            yield line("tools/call", name="why", arguments={}) * 20 + line("tools/list")

    pour(path, end, pieces)


ATTACKS = {
    attack.__name__: attack
    for attack in (
        endless_line, unread_replies, nested_json, wide_json, huge_numbers, thousand_connections, slow_loris, half_open,
        flood_of_reads, flood_of_messages, flood_of_polls, flood_without_ids, flood_of_tools,
    )
}  # fmt: skip


if __name__ == "__main__":
    name, path, seconds = sys.argv[1:]
    ATTACKS[name](path, time.monotonic() + float(seconds))
