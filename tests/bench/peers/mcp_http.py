"""A mailbox as an MCP server over HTTP: the `mcp` package and uvicorn, SQLite with an fsync for each call.

As a program (`python mcp_http.py DIR PORT`) it is the server; the class is what the bench drives.
"""

import asyncio
import contextlib
import itertools
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

POLL = 0.02


class McpHttp:
    def __init__(self, root: Path, names: list[str]):
        from .server import free_port, listens

        self.port = free_port()
        self.server = subprocess.Popen([sys.executable, __file__, str(root), str(self.port)], stderr=subprocess.DEVNULL)
        listens(self.port, self.server)

    async def open(self, name: str) -> "McpBox":
        return McpBox(*await asyncio.open_connection("127.0.0.1", self.port), name)

    def close(self) -> None:
        from .server import end

        end(self.server)


class McpBox:
    """One connection that is kept open. Senders and receivers may share it, one call after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str):
        self.reader, self.writer, self.name = reader, writer, name
        self.ids, self.last, self.turn = itertools.count(1), 0, asyncio.Lock()

    async def send(self, to: str, body: str) -> None:
        await self._call("send", to=to, body=body)

    async def recv(self) -> str:
        while not (found := json.loads(await self._call("recv", name=self.name, done=self.last))):
            self.last = 0
            await asyncio.sleep(POLL)
        self.last = found[0]
        return found[1]

    async def _call(self, tool: str, **arguments: Any) -> str:
        params = {"name": tool, "arguments": arguments}
        body = json.dumps({"jsonrpc": "2.0", "id": next(self.ids), "method": "tools/call", "params": params}).encode()
        head = (
            "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-06-18\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        async with self.turn:
            self.writer.write(head.encode() + body)
            answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            size = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
            said = json.loads(await self.reader.readexactly(size))
        return said["result"]["content"][0]["text"]


# ---- the server -------------------------------------------------------------------------------------------------------


def serve(root: Path, port: int) -> None:
    import uvicorn
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
    from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent
    from starlette.applications import Starlette
    from starlette.routing import Route

    db = sqlite3.connect(root / "mail.sqlite3", isolation_level=None, check_same_thread=False)
    db.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE m (id INTEGER PRIMARY KEY, name TEXT, body TEXT, taken INT DEFAULT 0);"
        "CREATE INDEX waiting ON m (name, id) WHERE NOT taken;"
    )

    def send(to: str, body: str) -> str:
        db.execute("INSERT INTO m (name, body) VALUES (?, ?)", (to, body))
        return "ok"

    def recv(name: str, done: int) -> str:
        take = (
            "UPDATE m SET taken = 1 WHERE id = (SELECT min(id) FROM m WHERE name = ? AND NOT taken) RETURNING id, body"
        )
        db.execute("BEGIN IMMEDIATE")
        if done:
            db.execute("DELETE FROM m WHERE id = ?", (done,))
        row = db.execute(take, (name,)).fetchone()
        db.execute("COMMIT")
        return json.dumps(row)

    async def call(context: Any, params: CallToolRequestParams) -> CallToolResult:
        text = {"send": send, "recv": recv}[params.name](**params.arguments)  # type: ignore[operator]
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=False)

    async def tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[])

    manager = StreamableHTTPSessionManager(
        Server("mail", on_list_tools=tools, on_call_tool=call), json_response=True, stateless=True
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with manager.run():
            yield

    app = Starlette(routes=[Route("/mcp", StreamableHTTPASGIApp(manager), methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
