"""The relay between a shim and a host that comes and goes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.wire import LINE
from harness import shim
from harness.relay import Relay, tagged

TURN = "0b0a1c5e-143f-4781-a323-b07fddde2c38"


class Host:
    """Answers every request with its own number, `again` after each restart."""

    def __init__(self, path: Path):
        self.path, self.heard, self.life = path, [], 0
        self.silent = False
        self.writers: list[asyncio.StreamWriter] = []

    async def up(self) -> None:
        self.life += 1
        self.path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(self._serve, self.path, limit=LINE)

    async def down(self) -> None:
        self.server.close()
        self.path.unlink(missing_ok=True)
        for writer in self.writers:
            writer.transport.abort()
        self.writers = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while line := await reader.readline():
                message = json.loads(line)
                self.heard.append((self.life, message))
                if "id" in message and not (self.silent and message["method"] == "tools/call"):
                    answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"life": self.life}}
                    writer.write(json.dumps(answer).encode() + b"\n")
        except ConnectionError:
            pass
        finally:
            writer.close()

    def methods(self, life: int) -> list[str]:
        return [message["method"] for lived, message in self.heard if lived == life]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path / "mcp.sock")
    await host.up()
    yield host
    await host.down()


@pytest.fixture
async def relay(tmp_path: Path, host: Host) -> AsyncIterator[Relay]:
    relay = Relay(host.path)
    server = await relay.listen(tmp_path / "relay.sock")
    relay.begin(TURN)
    yield relay
    relay.end()
    server.close()
    await asyncio.sleep(0.05)


class Claude:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    def say(self, method: str, id_: Any = None, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": id_} if id_ is not None else {})
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 5) or b"{}")

    async def greet(self) -> None:
        self.say("initialize", 0)
        await self.answer()
        self.say("notifications/initialized")


@pytest.fixture
async def claude(tmp_path: Path, relay: Relay) -> AsyncIterator[Claude]:
    claude = Claude(*await asyncio.open_unix_connection(tmp_path / "relay.sock"))
    yield claude
    claude.writer.close()


async def test_what_was_asked_before_a_restart_is_answered_after_it_once(host: Host, claude: Claude) -> None:
    await claude.greet()
    host.silent = True
    claude.say("tools/call", 1, name="recv")
    await asyncio.sleep(0.1)
    await host.down()
    claude.say("tools/call", 2, name="send")
    await asyncio.sleep(0.3)
    host.silent = False
    await host.up()
    answers = [await claude.answer(), await claude.answer()]
    assert [(answer["id"], answer["result"]["life"]) for answer in answers] == [(1, 2), (2, 2)]
    assert host.methods(2) == ["initialize", "notifications/initialized", "tools/call", "tools/call"]


async def test_a_repeated_call_has_the_key_of_the_first(host: Host, claude: Claude) -> None:
    await claude.greet()
    host.silent = True
    claude.say("tools/call", 1, name="send", _meta={"claudecode/toolUseId": "toolu_1"})
    await asyncio.sleep(0.1)
    await host.down()
    await host.up()
    await asyncio.sleep(0.5)
    metas = [message["params"]["_meta"] for _, message in host.heard if message["method"] == "tools/call"]
    assert metas[0] == metas[1]
    assert metas[0]["hive/key"] == f"{TURN}:toolu_1"


async def test_a_cancelled_call_is_not_repeated(host: Host, claude: Claude) -> None:
    await claude.greet()
    host.silent = True
    claude.say("tools/call", 1, name="recv")
    claude.say("notifications/cancelled", requestId=1)
    await asyncio.sleep(0.1)
    await host.down()
    await host.up()
    await asyncio.sleep(0.5)
    assert host.methods(2) == ["initialize", "notifications/initialized"]


async def test_a_host_that_is_away_when_claude_greets_is_waited_for(host: Host, claude: Claude) -> None:
    await host.down()
    claude.say("initialize", 0)
    await asyncio.sleep(0.3)
    await host.up()
    assert (await claude.answer())["id"] == 0


async def test_what_the_wire_cannot_take_is_refused_here(host: Host, claude: Claude) -> None:
    await claude.greet()
    claude.say("tools/call", 1, name="send", arguments={"body": "x" * 300_000})
    assert "put the rest in a file" in (await claude.answer())["error"]["message"]
    claude.say("tools/call", 2, name="send")
    assert (await claude.answer())["id"] == 2


async def test_the_end_of_a_turn_hangs_up(relay: Relay, claude: Claude) -> None:
    await claude.greet()
    relay.end()
    assert await claude.answer() == {}


async def test_between_turns_nobody_is_taken(tmp_path: Path, relay: Relay) -> None:
    relay.end()
    claude = Claude(*await asyncio.open_unix_connection(tmp_path / "relay.sock"))
    assert await claude.answer() == {}
    claude.writer.close()


def test_a_key_fits_the_hosts_column_whatever_claude_calls_its_call() -> None:
    for id_ in ("toolu_30c0e0a6e9ea42a79bc6410c", "x" * 500, "späß", 3, '"\n'):
        line = tagged({"id": 1, "method": "tools/call", "params": {"_meta": {"claudecode/toolUseId": id_}}}, TURN)
        key = json.loads(line)["params"]["_meta"]["hive/key"]
        assert key.startswith(TURN + ":")
        assert len(key) <= 64


def test_what_no_database_takes_does_not_leave_the_container() -> None:
    line = tagged({"id": 1, "method": "tools/call", "params": {"arguments": {"body": "a\0\ud800"}}}, TURN)
    assert json.loads(line)["params"]["arguments"]["body"] == "a\ufffd?"


async def test_the_shim_is_a_pipe_and_ends_with_either_side(tmp_path: Path, relay: Relay) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", shim.__file__, str(tmp_path / "relay.sock"), stdin=-1, stdout=-1
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(b'{"jsonrpc":"2.0","id":0,"method":"initialize"}\n')
    assert json.loads(await process.stdout.readline())["id"] == 0
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_the_shim_without_a_relay_says_so(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", shim.__file__, str(tmp_path / "none.sock"), stdin=-1, stderr=-1
    )
    _, said = await process.communicate()
    assert said.startswith(b"shim: ")
