"""RabbitMQ: a durable queue for each mailbox, persistent messages, publisher confirms, acks by hand, one at a time."""

import asyncio
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

from .server import end, found, free_port, listens, user

# Class and method ids of AMQP 0-9-1 (rabbitmq.com/amqp-0-9-1-reference).
START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK = (10, 10), (10, 11), (10, 30), (10, 31), (10, 40), (10, 41)
CHANNEL, CHANNEL_OK, DECLARE, DECLARE_OK = (20, 10), (20, 11), (50, 10), (50, 11)
QOS, QOS_OK, CONSUME, CONSUME_OK = (60, 10), (60, 11), (60, 20), (60, 21)
PUBLISH, DELIVER, ACK, SELECT, SELECT_OK = (60, 40), (60, 60), (60, 80), (85, 10), (85, 11)
METHOD, HEADER, BODY, BEAT = 1, 2, 3, 8
ANSWERS = {START, TUNE, OPEN_OK, CHANNEL_OK, DECLARE_OK, QOS_OK, CONSUME_OK, SELECT_OK}


class Rabbit:
    def __init__(self, root: Path, names: list[str]):
        self.port = free_port()
        env = {
            "PATH": os.environ["PATH"], "HOME": str(root), "RABBITMQ_NODENAME": "bench@localhost", "LANG": "C.UTF-8",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()), "ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(root / "mnesia"), "RABBITMQ_LOG_BASE": str(root / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(root / "plugins"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }  # fmt: skip
        who = user("rabbitmq", root)
        # In a group of its own: epmd, which it starts, has to end with it.
        self.server = subprocess.Popen(
            [str(found("rabbitmq-server"))], env=env, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, **who,
        )  # fmt: skip
        self.epmd = env["ERL_EPMD_PORT"]
        listens(self.port, self.server)

    async def open(self, name: str) -> "RabbitBox":
        _, wire = await asyncio.get_running_loop().create_connection(RabbitWire, "127.0.0.1", self.port)
        await wire.greet()
        await wire.call(DECLARE, struct.pack("!H", 0) + short(name) + b"\x02" + table())
        await wire.call(QOS, struct.pack("!IHB", 0, 1, 0))
        await wire.call(CONSUME, struct.pack("!H", 0) + short(name) + short("") + b"\0" + table())
        await wire.call(SELECT, b"\0")
        return RabbitBox(wire)

    def close(self) -> None:
        end(self.server)
        subprocess.run(["epmd", "-port", self.epmd, "-kill"], capture_output=True, check=False)


class RabbitBox:
    def __init__(self, wire: "RabbitWire"):
        self.wire, self.last = wire, 0

    async def send(self, to: str, body: str) -> None:
        await self.wire.publish(to, body.encode())

    async def recv(self) -> str:
        if self.last:
            self.wire.method(ACK, struct.pack("!QB", self.last, 0))
        self.last, body = await self.wire.delivered.get()
        return body.decode()


class RabbitWire(asyncio.Protocol):
    def __init__(self) -> None:
        self.rest = b""
        self.answer: asyncio.Future | None = asyncio.get_running_loop().create_future()
        self.greeted, self.published = self.answer, 0
        self.unconfirmed: dict[int, asyncio.Future] = {}
        self.delivered: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.tag, self.left, self.body = 0, 0, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(b"AMQP\0\0\x09\x01")

    async def greet(self) -> None:
        await self.greeted
        login = table() + short("PLAIN") + long(b"\0guest\0guest") + short("en_US")
        await self.call(START_OK, login, 0)
        self.method(TUNE_OK, struct.pack("!HIH", 1, 131072, 0), 0)
        await self.call(OPEN, short("/") + b"\0\0", 0)
        await self.call(CHANNEL, b"\0")

    def call(self, what: tuple[int, int], arguments: bytes, channel: int = 1) -> asyncio.Future:
        self.answer = asyncio.get_running_loop().create_future()
        self.method(what, arguments, channel)
        return self.answer

    def method(self, what: tuple[int, int], arguments: bytes, channel: int = 1) -> None:
        self.transport.write(frame(METHOD, channel, struct.pack("!HH", *what) + arguments))

    def publish(self, to: str, body: bytes) -> asyncio.Future:
        """Resolves once it is confirmed, which for a persistent message means: on disk."""
        self.published += 1
        self.unconfirmed[self.published] = future = asyncio.get_running_loop().create_future()
        method = struct.pack("!HHH", *PUBLISH, 0) + short("") + short(to) + b"\0"
        header = struct.pack("!HHQHB", 60, 0, len(body), 0x1000, 2)  # delivery-mode 2: persistent
        self.transport.write(frame(METHOD, 1, method) + frame(HEADER, 1, header) + frame(BODY, 1, body))
        return future

    def data_received(self, data: bytes) -> None:
        self.rest += data
        at = 0
        while len(self.rest) >= at + 7:
            kind, _, size = struct.unpack_from("!BHI", self.rest, at)
            if len(self.rest) < at + size + 8:
                break
            self._take(kind, self.rest[at + 7 : at + 7 + size])
            at += size + 8
        self.rest = self.rest[at:]

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == METHOD:
            self._method(struct.unpack_from("!HH", payload), payload[4:])
        elif kind == HEADER:
            self.left, self.body = struct.unpack_from("!Q", payload, 4)[0], b""
        elif kind == BODY:
            self.body += payload
            if len(self.body) >= self.left:
                self.delivered.put_nowait((self.tag, self.body))
        elif kind == BEAT:
            self.transport.write(frame(BEAT, 0, b""))

    def _method(self, what: tuple, arguments: bytes) -> None:
        if what in ANSWERS:
            if self.answer and not self.answer.done():
                self.answer.set_result(arguments)
        elif what == ACK:
            tag, several = struct.unpack("!QB", arguments)
            for number in [one for one in self.unconfirmed if one == tag or (several and one < tag)]:
                self.unconfirmed.pop(number).set_result(None)
        elif what == DELIVER:
            self.tag = struct.unpack_from("!Q", arguments, 1 + arguments[0])[0]
        else:
            raise RuntimeError(f"RabbitMQ says {what}: {arguments!r}")


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack("!BHI", kind, channel, len(payload)) + payload + b"\xce"


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def long(text: bytes) -> bytes:
    return struct.pack("!I", len(text)) + text


def table() -> bytes:
    return struct.pack("!I", 0)
