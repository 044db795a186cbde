"""Redis Streams: one stream and one consumer group for each mailbox."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

from .server import listens


class Redis:
    """Streams with a consumer group each, `appendfsync always`, over a unix socket."""

    def __init__(self, root: Path, names: list[str]):
        self.path, self.names = root / "redis.sock", names
        self.server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--dir", str(root), "--appendonly", "yes",
             "--appendfsync", "always", "--save", "", "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        listens(self.path, self.server)

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
