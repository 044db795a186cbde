"""NATS JetStream: one stream in files, one durable pull consumer for each mailbox.

`sync_interval` came with 2.10 (github.com/nats-io/nats-server/pull/4483). An older server (Debian 12 has 2.9) knows no word for
it; it writes a message before it answers, though, so its files get the attribute S: each write is an fsync (chattr(1), ext4).
"""

import asyncio
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

from .server import end, found, free_port, listens

CONFIG = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{root}/store"{sync} }}
"""
SYNC = ", sync_interval: always"
STREAM = {"name": "M", "subjects": ["m.>"], "storage": "file", "retention": "workqueue"}


def syncs() -> bool:
    """Whether this server can put a message on disk before it answers."""
    said = subprocess.run([str(found("nats-server")), "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, said.rpartition("v")[2].split(".")[:2])) >= (2, 10)


def how() -> str:
    """How a message comes to be on disk before it is answered, for the table."""
    return "sync always" if syncs() else "2.9 with chattr +S, as it has no sync_interval"


class Nats:
    def __init__(self, root: Path, names: list[str]):
        self.port = free_port()
        (root / "store").mkdir()
        if not syncs():
            # What is made below inherits it.
            subprocess.run(["chattr", "+S", str(root / "store")], check=True, capture_output=True)
        (root / "nats.conf").write_text(CONFIG.format(port=self.port, root=root, sync=SYNC if syncs() else ""))
        self.server = subprocess.Popen(
            [str(found("nats-server")), "-c", str(root / "nats.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        listens(self.port, self.server)
        self.made, self.making = False, asyncio.Lock()

    async def open(self, name: str) -> "NatsBox":
        _, wire = await asyncio.get_running_loop().create_connection(NatsWire, "127.0.0.1", self.port)
        async with self.making:
            if not self.made:
                await wire.api("STREAM.CREATE.M", STREAM)
                self.made = True
        config = {"durable_name": name, "filter_subject": f"m.{name}", "ack_policy": "explicit"}
        await wire.api(f"CONSUMER.DURABLE.CREATE.M.{name}", {"stream_name": "M", "config": config})
        return NatsBox(wire, name)

    def close(self) -> None:
        end(self.server)


class NatsBox:
    def __init__(self, wire: "NatsWire", name: str):
        self.wire, self.name, self.last = wire, name, ""

    async def send(self, to: str, body: str) -> None:
        _, answer = await self.wire.ask(f"m.{to}", body.encode())
        if b"error" in answer:
            raise RuntimeError(answer.decode())

    async def recv(self) -> str:
        acked = self.wire.ask(self.last, b"+ACK") if self.last else None
        while True:
            wish = json.dumps({"batch": 1, "expires": 20 * 10**9}).encode()
            self.last, body = await self.wire.pull(self.name, wish)
            if self.last:
                break
        if acked:
            await acked
        return body.decode()


class NatsWire(asyncio.Protocol):
    """The text protocol (docs.nats.io/reference/reference-protocols/nats-protocol), each answer to an inbox of its own."""

    def __init__(self) -> None:
        self.rest = b""
        self.waiting: dict[bytes, asyncio.Future] = {}
        self.ids = itertools.count()
        self.pulling = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.inbox = f"_INBOX.{id(self):x}"
        hello = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "lang": "bench",
            "version": "0",
        }
        transport.write(f"CONNECT {json.dumps(hello)}\r\nSUB {self.inbox}.* 1\r\n".encode())

    async def api(self, what: str, params: dict) -> None:
        _, answer = await self.ask(f"$JS.API.{what}", json.dumps(params).encode())
        if b'"error"' in answer:
            raise RuntimeError(answer.decode())

    def pull(self, consumer: str, wish: bytes) -> asyncio.Future:
        future = self.ask(f"$JS.API.CONSUMER.MSG.NEXT.M.{consumer}", wish)
        self.pulling = next(reversed(self.waiting))
        return future

    def ask(self, subject: str, payload: bytes) -> asyncio.Future:
        """(the subject to answer to, payload)."""
        inbox = f"{self.inbox}.{next(self.ids)}".encode()
        self.waiting[inbox] = future = asyncio.get_running_loop().create_future()
        self.transport.write(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), inbox, len(payload), payload))
        return future

    def data_received(self, data: bytes) -> None:
        self.rest += data
        at = 0
        while (end := self.rest.find(b"\r\n", at)) >= 0:
            words = self.rest[at:end].split()
            if words[0] == b"PING":
                self.transport.write(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise RuntimeError(self.rest[at:end].decode())
            elif words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                if len(self.rest) < end + size + 4:
                    break
                self._message(words, self.rest[end + 2 : end + 2 + size])
                end += size + 2
            at = end + 2
        self.rest = self.rest[at:]

    def _message(self, words: list[bytes], payload: bytes) -> None:
        headers = words[0] == b"HMSG"
        reply = words[3].decode() if len(words) == (6 if headers else 5) else ""
        # What was pulled comes under its own subject, and one pull at a time is under way.
        inbox = words[1] if words[1] in self.waiting else self.pulling
        future = self.waiting.pop(inbox)
        future.set_result((reply, payload[int(words[-2]) :] if headers else payload))
