"""Both ends of the way out together, bridge and relay: a login goes through them, and a stream as it comes."""

import asyncio
import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from harness import bridge
from lifecycle import egress, egress_told
from tests.harness.conftest import claude_at

from .standin import Quiet, Web, certificate

HOSTS = ("platform.claude.com", "api.anthropic.com")
TOKENS = {
    "token_type": "Bearer", "access_token": "sk-ant-oat01-given", "refresh_token": "sk-ant-ort01-given", "expires_in": 28800,
    "scope": "user:inference user:profile",
}  # fmt: skip
WHO = {
    "account": {"uuid": "u", "email": "a@b.example"},
    "organization": {"uuid": "o", "organization_type": "claude_max"},
}


class Anthropic(Quiet, BaseHTTPRequestHandler):
    """What the CLI asks when somebody logs in, as far as it minds."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._say(200 if asked.get("code") == "the-code" else 400, TOKENS)

    def do_GET(self) -> None:
        self._say(200, WHO)

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose sockets' paths fit into 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="hive-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def way_out(folder: Path) -> AsyncIterator[int]:
    """The bridge's port."""
    egress_told.TRAFFIC.pop("scout", None)
    host = await egress.serve(folder / "egress.sock", "scout", egress.EVERYONE)
    inside, port = await bridge.listen(folder / "egress.sock")
    yield port
    inside.close()
    host.close()


@pytest.mark.claude
@pytest.mark.parametrize("version", [cli.WANTED, cli.FLOOR])
async def test_claude_logs_in_through_it(short: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """With the very CONNECTs that it makes to Anthropic; only what their names lead to is ours."""
    binary = claude_at(version).resolve()
    if not binary.exists():
        pytest.skip(f"claude {version} is not installed in .tools")
    web = Web(Anthropic, tls=certificate(short, *(f"DNS:{host}" for host in HOSTS)))
    monkeypatch.setattr(egress, "resolve", nowhere)
    monkeypatch.setattr(egress, "first_of", lambda *_: asyncio.open_connection(*web.server.server_address))
    try:
        async with way_out(short) as port:
            env = {
                "PATH": "/usr/bin:/bin", "HOME": str(short), "CLAUDE_CONFIG_DIR": str(short / "claude"),
                "HTTPS_PROXY": f"http://127.0.0.1:{port}", "NODE_EXTRA_CA_CERTS": str(short / "cert.pem"),
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1",
            }  # fmt: skip
            said = await login([str(binary), "auth", "login"], env)
    finally:
        web.close()
    assert "Login successful" in said
    kept = json.loads((short / "claude" / ".credentials.json").read_text())
    assert kept["claudeAiOauth"]["accessToken"] == TOKENS["access_token"]
    counted = egress_told.traffic("scout")
    assert (counted["refused"], set(counted["hosts"])) == (0, {f"{host}:443" for host in HOSTS})


async def nowhere(*_: object) -> list[str]:
    return []


async def login(command: list[str], env: dict[str, str]) -> str:
    """What it said in the end, having been given a code for the state that it asked with, where it shows it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            shown = (await process.stdout.readuntil(b"prompted >")).decode()
            state = re.search(r"[?&]state=([\w-]+)", shown)
            process.stdin.write(f"the-code#{state[1] if state else 'any'}\n".encode())
            return (await process.stdout.read()).decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_the_first_byte_is_there_before_the_last_was_made(short: Path, settings: Any) -> None:
    go_on = asyncio.Event()

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: one\n\n")
        await go_on.wait()
        writer.write(b"event: two\n\n")
        writer.close()

    server = await asyncio.start_server(model, "127.0.0.1", 0)
    settings.HIVE_MODEL_URL = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with way_out(short) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"event: one\n\n")).startswith(b"HTTP/1.1 200")
            go_on.set()
            assert await reader.read() == b"event: two\n\n"
        writer.close()
    server.close()
