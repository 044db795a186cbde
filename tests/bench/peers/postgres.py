"""PostgreSQL with LISTEN/NOTIFY and FOR UPDATE SKIP LOCKED, `synchronous_commit` on, over its unix socket."""

import asyncio
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

from .server import end, found, listens, user

TABLE = """
CREATE TABLE m (id bigserial PRIMARY KEY, recipient text NOT NULL, body text NOT NULL, claimed boolean NOT NULL DEFAULT false);
CREATE INDEX waiting ON m (recipient, id) WHERE NOT claimed
"""
CLAIM = """
UPDATE m SET claimed = true WHERE id = (
    SELECT id FROM m WHERE recipient = '{name}' AND NOT claimed ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, body
"""


class Postgres:
    def __init__(self, root: Path, names: list[str]):
        self.socket, self.made, self.making = root / ".s.PGSQL.5432", False, asyncio.Lock()
        who, data = user("postgres", root), str(root / "data")
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": root, **who}
        subprocess.run([str(found("initdb")), "-D", data, "-A", "trust", "-U", "bench"], check=True, **quiet)
        options = [
            "synchronous_commit=on",
            "fsync=on",
            "listen_addresses=",
            f"unix_socket_directories={root}",
            "max_connections=150",
        ]
        settings = [word for option in options for word in ("-c", option)]
        self.server = subprocess.Popen([str(found("postgres")), "-D", data, *settings], **quiet)
        listens(self.socket, self.server)

    async def open(self, name: str) -> "PostgresBox":
        async with self.making:
            wire = await self._connect()
            if not self.made:
                await wire.ask(TABLE)
                self.made = True
        await wire.ask(f'LISTEN "{name}"')
        return PostgresBox(wire, name)

    async def _connect(self) -> "PostgresWire":
        """It listens before it is ready, and says so to who comes too early."""
        for _ in range(100):
            _, wire = await asyncio.get_running_loop().create_unix_connection(PostgresWire, os.fspath(self.socket))
            try:
                await wire.ready
                return wire
            except RuntimeError:
                await asyncio.sleep(0.1)
        raise TimeoutError("PostgreSQL does not come up")

    def close(self) -> None:
        end(self.server)


class PostgresBox:
    def __init__(self, wire: "PostgresWire", name: str):
        self.wire, self.name, self.last = wire, name, ""

    async def send(self, to: str, body: str) -> None:
        await self.wire.ask(f"INSERT INTO m (recipient, body) VALUES ('{to}', '{body}'); NOTIFY \"{to}\"")

    async def recv(self) -> str:
        """The next message; the one before it is acked in the same transaction."""
        done = f"DELETE FROM m WHERE id = {self.last};" if self.last else ""
        while True:
            self.wire.notified.clear()
            if rows := await self.wire.ask(done + CLAIM.format(name=self.name)):
                break
            done = ""
            await self.wire.notified.wait()
        self.last = rows[0][0].decode()
        return rows[0][1].decode()


class PostgresWire(asyncio.Protocol):
    """The simple query flow (postgresql.org/docs/current/protocol-flow.html), one query after another."""

    def __init__(self) -> None:
        self.rest = b""
        self.rows: list[list[bytes]] = []
        self.notified = asyncio.Event()
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        words = struct.pack("!i", 196608) + b"user\0bench\0database\0postgres\0\0"
        transport.write(struct.pack("!i", len(words) + 4) + words)

    def ask(self, sql: str) -> asyncio.Future:
        """The rows of it."""
        self.ready, words = asyncio.get_running_loop().create_future(), sql.encode() + b"\0"
        self.transport.write(b"Q" + struct.pack("!i", len(words) + 4) + words)
        return self.ready

    def data_received(self, data: bytes) -> None:
        self.rest += data
        at = 0
        while len(self.rest) >= at + 5:
            kind, size = self.rest[at : at + 1], struct.unpack_from("!i", self.rest, at + 1)[0]
            if len(self.rest) < at + 1 + size:
                break
            self._take(kind, self.rest[at + 5 : at + 1 + size])
            at += 1 + size
        self.rest = self.rest[at:]

    def _take(self, kind: bytes, payload: bytes) -> None:
        if kind == b"D":
            self.rows.append(columns(payload))
        elif kind == b"A":
            self.notified.set()
        elif kind == b"E":
            self.ready.set_exception(RuntimeError(payload.replace(b"\0", b" ").decode()))
        elif kind == b"Z":
            rows, self.rows = self.rows, []
            if not self.ready.done():
                self.ready.set_result(rows)


def columns(payload: bytes) -> list[bytes]:
    found, at = [], 2
    for _ in range(struct.unpack_from("!h", payload)[0]):
        size = struct.unpack_from("!i", payload, at)[0]
        found.append(payload[at + 4 : at + 4 + size])
        at += 4 + size
    return found
