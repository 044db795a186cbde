"""A host for a harness to talk to: the verbs in memory on the real wire, the tools on the real MCP server."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

from broker import watch, wire
from broker.share import AT_ONCE, Share
from broker.wire import Peer, Refused

TOOLS = {
    "send": {"to": {"type": "string"}, "body": {"type": "string"}, "reply_to": {"type": "integer"}},
    "recv": {"wait": {"type": "number"}},
    "why": {},
}

VERBS = ("hello", "recv", "renew", "ack", "release", "events", "login_wish", "login_says")


class FakeHost:
    """What it was told is in `acks`, `releases`, `events`, `turns`, `calls`; `gone()` and `back()` restart it."""

    def __init__(self, run: Path, model_port: int = 0):
        self.run, self.model_port = run, model_port
        self.queue: list[dict[str, Any]] = []
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.hellos: list[dict[str, Any]] = []
        self.acks: list[dict[str, Any]] = []
        self.releases: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.turns: dict[str, dict[str, Any]] = {}
        self.calls: list[dict[str, Any]] = []
        self.ways_out: list[str] = []
        self.interrupted: set[str] = set()
        self.lost: set[str] = set()
        self.with_mcp = True
        # What the operator wishes of the login, and what was said of it.
        self.wish: dict[str, Any] = {"wish": "", "number": 0}
        self.logins: list[dict[str, Any]] = []
        # How long the tools take, and what the next call of one waits for.
        self.tool: Callable[[str], Any] | None = None
        self.changed = asyncio.Condition()
        self._servers: list[asyncio.Server | watch.Listener] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._socks: list[socket.socket] = []
        polls = frozenset({"recv", "renew", "login_wish"})
        self._door = wire.Door("mcp.sock", self._verb, None, polls, None, wire.CONNECTIONS, AT_ONCE)
        self._ids = 0

    # ---- what a test does

    async def back(self) -> None:
        for name in ("mcp.sock", "egress.sock"):
            (self.run / name).unlink(missing_ok=True)
        self._servers = [
            watch.listen(self.run / "mcp.sock", None, wire.BACKLOG, self._welcome),
            await asyncio.start_unix_server(self._egress, self.run / "egress.sock", limit=wire.LINE),
        ]

    async def gone(self) -> None:
        for server in self._servers:
            server.close()
        for name in ("mcp.sock", "egress.sock"):
            (self.run / name).unlink(missing_ok=True)
        for writer in self._open:
            writer.transport.abort()
        for sock in self._socks:
            with contextlib.suppress(OSError):  # it is over, or a session's
                sock.shutdown(socket.SHUT_RDWR)
        self._socks.clear()
        await asyncio.sleep(0.05)

    async def post(self, body: str, sender: str = "operator", role: str = "operator") -> int:
        self._ids += 1
        self.queue.append(
            {
                "id": self._ids, "cid": f"c{self._ids}", "sender": sender, "sender_role": role, "recipient": "scout",
                "body": body, "reply_to": None, "chain": f"c{self._ids}", "hop": 0, "attempt": 0, "state": "queued",
                "created_at": datetime.now(UTC).isoformat(),
            }
        )  # fmt: skip
        await self._changed()
        return self._ids

    async def until(self, true: Callable[[], Any], seconds: float = 30) -> Any:
        """Wait for something to be so."""
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(true)
        return true()

    async def wishes(self, wish: str, **how: Any) -> None:
        self.wish = {"wish": wish, "number": self.wish["number"] + 1} | how
        await self._changed()

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events]

    def states(self) -> list[str]:
        return [event["payload"]["state"] for event in self.events if event["kind"] == "state"]

    def saw(self, kind: str, **what: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in self.events
            if event["kind"] == kind and all(event["payload"].get(key) == value for key, value in what.items())
        ]

    # ---- the verbs

    async def _verb(self, peer: Peer, method: str, params: dict[str, Any]) -> Any:
        if method not in VERBS:
            # 2.1.330 first asks for `server/discover`, of a newer MCP, and greets when it is told no.
            raise Refused("unknown_verb", f"There is no verb {method!r} here.")
        result = await getattr(self, f"_{method}")(**params)
        await self._changed()
        return result

    async def _changed(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _hello(self, harness: str, cli_version: str, seq: int) -> dict[str, Any]:
        self.hellos.append({"harness": harness, "cli_version": cli_version, "seq": seq})
        return {"name": "scout", "role": "agent", "seq": len(self.events), "paused": False}

    async def _recv(self, turn: str, wait: float, lease: float, key: str) -> dict[str, Any]:
        if turn not in self.held:
            try:
                async with asyncio.timeout(wait), self.changed:
                    await self.changed.wait_for(lambda: self.queue)
            except TimeoutError:
                return {"messages": []}
            message = self.queue.pop(0)
            self.held[turn] = [message | {"attempt": message["attempt"] + 1, "state": "claimed", "turn": turn}]
        return {"messages": self.held[turn]}

    async def _renew(self, turn: str, lease: float, wait: float) -> dict[str, Any]:
        if turn in self.lost:
            raise Refused("conflict", "The lease of this turn has run out.", "lease_lost")
        try:
            async with asyncio.timeout(wait), self.changed:
                await self.changed.wait_for(lambda: turn in self.interrupted)
        except TimeoutError:
            return {"interrupt": False, "paused": False}
        return {"interrupt": True, "paused": False}

    async def _login_wish(self, wait: float) -> dict[str, Any]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait), self.changed:
                await self.changed.wait_for(lambda: self.wish["wish"])
        return self.wish

    async def _login_says(self, state: str, takes: int, **how: Any) -> dict[str, Any]:
        self.logins.append({"state": state} | how)
        if takes == self.wish["number"]:
            self.wish = {"wish": "", "number": takes}
        return {"taken": takes}

    async def _ack(self, turn: dict[str, Any]) -> dict[str, Any]:
        self.acks.append(turn)
        return {"acked": len(self.held.pop(turn["id"], []))}

    async def _release(self, turn: dict[str, Any], how: str, reason: str) -> dict[str, Any]:
        self.releases.append({"turn": turn, "how": how, "reason": reason})
        messages = self.held.pop(turn["id"], [])
        if how != "dead":
            self.queue[:0] = messages
        return {"released": len(messages)}

    async def _events(self, rows: list[dict[str, Any]], turns: list[dict[str, Any]]) -> dict[str, Any]:
        for row in rows:
            if row["seq"] == len(self.events) + 1:
                self.events.append(row)
            elif row["seq"] > len(self.events) + 1:
                raise Refused("conflict", "a gap", "event_gap")
        self.turns |= {turn["id"]: turn for turn in turns}
        return {"seq": len(self.events)}

    # ---- the sockets

    def _welcome(self, sock: socket.socket) -> None:
        self._door.session = self._session if self.with_mcp else None
        self._socks.append(sock)
        self._door.welcome(sock)

    async def _egress(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        first = await reader.readline()
        self.ways_out.append(first.decode().strip())
        model_reader, model_writer = await asyncio.open_connection("127.0.0.1", self.model_port)
        await self._changed()
        model_writer.write(first)
        try:
            await asyncio.gather(pipe(reader, model_writer), pipe(model_reader, writer))
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            model_writer.close()
            writer.close()

    async def _session(self, peer: Peer, first: bytes, reader: Any, writer: Any, share: Share) -> None:
        to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](16)
        outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](16)

        async def read() -> None:
            line = first
            async with to_server:
                while line:
                    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await to_server.send(SessionMessage(message))
                    line = await reader.readline()
            group.cancel_scope.cancel()

        async def write() -> None:
            async with from_server:
                async for item in from_server:
                    said = item.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
                    writer.write(wire.encode(said))

        self._open.add(writer)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                group.start_soon(write)
                server = Server("hive", on_list_tools=self._list_tools, on_call_tool=self._call_tool)
                await server.run(incoming, outgoing, server.create_initialization_options())
        finally:
            self._open.discard(writer)

    async def _list_tools(self, context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(name=name, description=name, input_schema={"type": "object", "properties": properties})
                for name, properties in TOOLS.items()
            ]
        )

    async def _call_tool(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        self.calls.append({"name": params.name, "arguments": params.arguments, "meta": dict(context.meta or {})})
        await self._changed()
        if self.tool:
            await self.tool(params.name)
        said = json.dumps({"ok": params.name})
        return types.CallToolResult(content=[types.TextContent(type="text", text=said)], is_error=False)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
