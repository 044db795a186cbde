"""Durable messages a second, the hive's mailboxes beside what people would use instead, at equal durability.

pairs: 50 senders to 50 receivers, 500 bytes, on disk before a send is answered; reply: 50 pairs that answer each other.
usage: python tests/bench/bench_mailboxes.py [--seconds S] [--runs N] [PEER …]
"""

import argparse
import asyncio
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAIRS, SIZE = 50, 500
BODY = "x" * SIZE


class Lines(asyncio.Protocol):
    """A client of newline-delimited JSON, as thin as one can be: what is measured is the server."""

    def __init__(self) -> None:
        self.rest = b""
        self.waiting: dict[int, asyncio.Future] = {}
        self.ids = itertools.count()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            reply = json.loads(line)
            self.waiting.pop(reply["id"]).set_result(reply)

    def ask(self, method: str, **params: Any) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        self.waiting[id_ := next(self.ids)] = future
        request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        self.transport.write(json.dumps(request).encode() + b"\n")
        return future


class Hive:
    """This project's mailboxes: each agent has a socket, and each message is a turn of its own."""

    def __init__(self, root: Path, names: list[str]):
        self.root = root
        self.host = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "mailbox_host.py"), str(root), *names],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.host.stdout
        assert self.host.stdout.readline() == b"ready\n"

    async def open(self, name: str) -> "HiveBox":
        _, lines = await asyncio.get_running_loop().create_unix_connection(Lines, str(self.root / name))
        return HiveBox(lines)

    def close(self) -> None:
        assert self.host.stdin
        self.host.stdin.close()
        self.host.wait(10)


class HiveBox:
    def __init__(self, lines: Lines):
        self.lines, self.turns, self.turn = lines, itertools.count(1), ""

    async def send(self, to: str, body: str) -> None:
        reply = await self.lines.ask("send", to=to, body=body, cid=uuid.uuid4().hex)
        if "error" in reply:
            raise RuntimeError(reply["error"]["message"])

    async def recv(self) -> str:
        """The next message; the one before it is acked along the way."""
        if self.turn:
            at = "2026-01-01T00:00:00Z"
            turn = {"id": self.turn, "number": self.number, "started_at": at, "ended_at": at, "outcome": "ok"}
            acked = self.lines.ask("ack", turn=turn)
        self.number, last = next(self.turns), self.turn
        self.turn = str(uuid.uuid4())
        while True:
            reply = await self.lines.ask("recv", turn=self.turn, wait=20)
            if reply["result"]["messages"]:
                break
        if last:
            assert "result" in await acked, acked
        return reply["result"]["messages"][0]["body"]


class Redis:
    """Streams with a consumer group each, `appendfsync always`, over a unix socket."""

    def __init__(self, root: Path, names: list[str]):
        self.path, self.names = root / "redis.sock", names
        self.server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--dir", str(root), "--appendonly", "yes",
             "--appendfsync", "always", "--save", "", "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.path)

    async def open(self, name: str) -> "RedisBox":
        _, resp = await asyncio.get_running_loop().create_unix_connection(Resp, str(self.path))
        await resp.ask("XGROUP", "CREATE", name, "g", "0", "MKSTREAM")
        return RedisBox(resp, name)

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(10)


class RedisBox:
    def __init__(self, resp: "Resp", name: str):
        self.resp, self.name, self.last = resp, name, b""

    async def send(self, to: str, body: str) -> None:
        await self.resp.ask("XADD", to, "*", "b", body)

    async def recv(self) -> str:
        acked = self.resp.ask("XACK", self.name, "g", self.last) if self.last else None
        reply = None
        while not reply:
            reply = await self.resp.ask(
                "XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "BLOCK", "20000", "STREAMS", self.name, ">"
            )
        self.last, fields = reply[0][1][0]
        if acked:
            await acked
        return fields[1].decode()


class Resp(asyncio.Protocol):
    """RESP2 (redis.io/docs/latest/develop/reference/protocol-spec), replies in the order of the commands."""

    def __init__(self) -> None:
        self.rest = b""
        self.waiting: list[asyncio.Future] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, *words: str | bytes) -> asyncio.Future:
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word.encode() if isinstance(word, str) else word
            out.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self.transport.write(b"".join(out))
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def data_received(self, data: bytes) -> None:
        self.rest += data
        at = 0
        while at < len(self.rest):
            try:
                value, at = parse(self.rest, at)
            except (IndexError, ValueError):
                break
            self.waiting.pop(0).set_result(value)
        self.rest = self.rest[at:]


def parse(data: bytes, at: int) -> tuple[Any, int]:
    end = data.index(b"\r\n", at)
    kind, word, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in b"+-":
        if kind == b"-" and not word.startswith(b"BUSYGROUP"):
            raise RuntimeError(word.decode())
        return word, at
    if kind == b":":
        return int(word), at
    count = int(word)
    if count < 0:
        return None, at
    if kind == b"$":
        if len(data) < at + count + 2:
            raise IndexError
        return data[at : at + count], at + count + 2
    values = []
    for _ in range(count):
        value, at = parse(data, at)
        values.append(value)
    return values, at


PEERS: dict[str, Callable[[Path, list[str]], Any]] = {"hive": Hive, "redis": Redis}
SERVERS = {"redis": "redis-server"}


def wait_for(path: Path) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as probe:
            if path.exists() and probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(path)


# ---- the work ---------------------------------------------------------------------------------------------------------


async def pairs(system: Any, seconds: float) -> float:
    """Messages a second, received and acked, each sender's in its order."""
    until, received = time.monotonic() + seconds, 0
    senders = [await system.open(f"s{n}") for n in range(PAIRS)]
    receivers = [await system.open(f"r{n}") for n in range(PAIRS)]
    sent = [0] * PAIRS

    async def send(n: int) -> None:
        while time.monotonic() < until:
            await senders[n].send(f"r{n}", f"{sent[n]:08}{BODY[8:]}")
            sent[n] += 1
        await senders[n].send(f"r{n}", "end")

    async def receive(n: int) -> None:
        nonlocal received
        expected = 0
        while (body := await receivers[n].recv()) != "end":
            assert int(body[:8]) == expected, "out of order, lost or doubled"
            expected += 1
            received += 1

    begun = time.monotonic()
    await asyncio.gather(*map(send, range(PAIRS)), *map(receive, range(PAIRS)))
    assert received == sum(sent), "lost"
    return received / (time.monotonic() - begun)


async def reply(system: Any, seconds: float) -> float:
    """Messages a second of pairs that answer each other, one under way each."""
    until, count = time.monotonic() + seconds, 0

    async def ping(n: int) -> None:
        nonlocal count
        box = await system.open(f"s{n}")
        while time.monotonic() < until:
            await box.send(f"r{n}", BODY)
            await box.recv()
            count += 2
        await box.send(f"r{n}", "end")

    async def pong(n: int) -> None:
        box = await system.open(f"r{n}")
        while await box.recv() != "end":
            await box.send(f"s{n}", BODY)

    begun = time.monotonic()
    await asyncio.gather(*map(ping, range(PAIRS)), *map(pong, range(PAIRS)))
    return count / (time.monotonic() - begun)


def run(peer: str, work: Callable[..., Any], seconds: float) -> float:
    root = Path(tempfile.mkdtemp(prefix="bench-", dir="/var/tmp"))
    system = PEERS[peer](root, [f"{kind}{n}" for kind in "sr" for n in range(PAIRS)])
    try:
        return asyncio.run(work(system, seconds))
    finally:
        system.close()
        shutil.rmtree(root)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("peers", nargs="*", default=["redis"])
    o = parser.parse_args()
    for peer in [peer for peer in o.peers if not shutil.which(SERVERS[peer])]:
        print(f"{peer} is left out: there is no {SERVERS[peer]} here (apt-get install {SERVERS[peer]}).")
        o.peers.remove(peer)
    print(f"{os.cpu_count()} cores, {o.runs} runs of {o.seconds:g} s, medians")
    for name, work in (("pairs", pairs), ("reply", reply)):
        rates: dict[str, list[float]] = {peer: [] for peer in ("hive", *o.peers)}
        for _ in range(o.runs):
            for peer, found in rates.items():
                found.append(run(peer, work, o.seconds))
        median = {peer: statistics.median(found) for peer, found in rates.items()}
        for peer, rate in median.items():
            print(f"{name}: {peer:8} {rate:8.0f} msg/s, hive / {peer}: {median['hive'] / rate:.2f}")


if __name__ == "__main__":
    main()
