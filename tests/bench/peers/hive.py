"""This project's mailboxes: the real verbs, writer and wire; each agent has a socket, each message is a turn of its own."""

import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from broker.ids import new_id

HOSTS = Path(__file__).resolve().parents[1]


def encode(params: dict[str, Any]) -> bytes:
    return ENCODER.encode(params).encode()


ENCODER = json.JSONEncoder(separators=(",", ":"))


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
            if not (asked := self.waiting.pop(reply["id"])).done():  # or its caller has gone
                asked.set_result(reply)

    def ask(self, method: str, **params: Any) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        self.waiting[id_ := next(self.ids)] = future
        self.transport.write(
            b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}\n' % (id_, method.encode(), encode(params))
        )
        return future


class Hive:
    """This project's mailboxes: each agent has a socket, and each message is a turn of its own."""

    program = "mailbox_host.py"

    def __init__(self, root: Path, names: list[str]):
        self.root = root
        self.host = subprocess.Popen(
            [sys.executable, str(HOSTS / self.program), str(root), *names],
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


class Wire(Hive):
    """The same sockets and requests with nothing behind them: no peer, but what the hive could reach at best."""

    program = "wire_host.py"


class HiveBox:
    def __init__(self, lines: Lines):
        self.lines, self.turns, self.turn = lines, itertools.count(1), ""

    async def send(self, to: str, body: str) -> None:
        reply = await self.lines.ask("send", to=to, body=body, cid=new_id())
        if "error" in reply:
            raise RuntimeError(reply["error"]["message"])

    async def recv(self) -> str:
        """The next message; the one before it is acked along the way."""
        if self.turn:
            at = "2026-01-01T00:00:00Z"
            turn = {"id": self.turn, "number": self.number, "started_at": at, "ended_at": at, "outcome": "ok"}
            acked = self.lines.ask("ack", turn=turn)
        self.number, last = next(self.turns), self.turn
        self.turn = new_id()
        while True:
            reply = await self.lines.ask("recv", turn=self.turn, wait=20)
            if reply["result"]["messages"]:
                break
        if last:
            assert "result" in await acked, acked
        return reply["result"]["messages"][0]["body"]
