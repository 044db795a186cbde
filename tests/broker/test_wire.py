"""Both ends of the wire: what is answered, what is refused, and what a client survives."""

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import share, wire
from broker.wire import BODY, CODES, LINE, Client, Refused, Unreachable, ask, decode, listen


async def echo(peer: wire.Peer, method: str, params: dict[str, Any]) -> Any:
    if method == "recv":
        await asyncio.sleep(30)
    if method == "no":
        raise Refused("conflict", "Somebody else got there first.", "too_late")
    return {"method": method, "params": params, "uid": peer.uid}


@pytest.fixture
async def path(tmp_path: Path):
    server = await listen(tmp_path / "s.sock", echo)
    yield tmp_path / "s.sock"
    server.close()


async def exchange(path: Path, sent: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path, limit=4 * LINE)
    writer.write(sent)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return json.loads(line)


async def test_a_verb_is_answered_and_the_kernel_says_who_asks(path: Path) -> None:
    assert await ask(path, "ping", word="hi") == {"method": "ping", "params": {"word": "hi"}, "uid": os.geteuid()}


async def test_a_refusal_keeps_its_kind_its_word_and_its_sentence(path: Path) -> None:
    with pytest.raises(Refused, match="got there first") as refused:
        await ask(path, "no")
    assert (refused.value.kind, refused.value.word) == ("conflict", "too_late")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"{nonsense\n", "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}\n', "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"n":NaN}}\n', "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"s":"\\ud800"}}\n', "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"s":"a\\u0000b"}}\n', "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}\n', "parse_error"),
        (b"[" * 100_000 + b"\n", "parse_error"),
        (b'{"n":' + b"9" * 5000 + b"}\n", "parse_error"),
        (b"[]\n", "invalid_request"),
        (b'{"id":1,"method":"x"}\n', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":[],"method":"x"}\n', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}\n', "bad_params"),
        (b"x" * 2 * LINE + b"\n", "invalid_request"),
    ],
)
async def test_a_bad_line_gets_an_error_and_the_server_goes_on(path: Path, line: bytes, kind: str) -> None:
    assert (await exchange(path, line))["error"]["code"] == CODES[kind]
    assert await ask(path, "ping")


async def test_a_body_at_the_limit_fits_a_line(path: Path) -> None:
    body = '"' * BODY
    assert (await ask(path, "ping", body=body))["params"]["body"] == body


async def test_more_connections_than_allowed_are_told_so(path: Path) -> None:
    held = [await asyncio.open_unix_connection(path) for _ in range(wire.CONNECTIONS)]
    await asyncio.sleep(0.05)
    assert (await exchange(path, b""))["error"]["data"]["code"] == "too_many_connections"
    for _, writer in held:
        writer.close()


async def test_another_user_is_refused(tmp_path: Path) -> None:
    server = await listen(tmp_path / "s.sock", echo, uids=frozenset({12345}))
    with pytest.raises(Refused, match="another user"):
        await ask(tmp_path / "s.sock", "ping")
    server.close()


async def test_a_hang_up_ends_a_long_poll_and_finishes_everything_else(tmp_path: Path) -> None:
    ended: list[str] = []

    async def slow(peer: wire.Peer, method: str, params: dict) -> str:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            ended.append(f"{method} cancelled")
            raise
        ended.append(f"{method} done")
        return "ok"

    server = await listen(tmp_path / "s.sock", slow)
    _, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
    for number, method in enumerate(("recv", "send")):
        writer.write(wire.encode({"jsonrpc": "2.0", "id": number, "method": method}))
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.4)
    assert ended == ["recv cancelled", "send done"]
    server.close()


async def test_a_silent_line_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LINE_TIME", 0.1)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"jsonrpc"')
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_client_survives_a_restart_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    server = await listen(path, echo)
    client = Client(path, patience=10)
    assert await client.call("ping")
    server.close()
    await client.close()
    path.unlink(missing_ok=True)  # Python 3.13 has removed it already
    asking = asyncio.create_task(client.call("ping"))
    await asyncio.sleep(0.3)
    server = await listen(path, echo)
    assert (await asking)["method"] == "ping"
    await client.close()
    server.close()


async def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="Nobody answers"):
        await ask(tmp_path / "none.sock", "ping")


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
@settings(max_examples=2000, deadline=None)
def test_any_bytes_are_an_object_or_a_refusal(line: bytes) -> None:
    try:
        assert isinstance(decode(line), dict)
    except Refused as refused:
        assert refused.kind in CODES


async def test_of_one_sockets_requests_only_so_many_are_done_at_once_and_polls_do_not_count(tmp_path: Path) -> None:
    under_way, most = 0, 0

    async def slow(peer: wire.Peer, method: str, params: dict) -> str:
        nonlocal under_way, most
        if method == "recv":
            await asyncio.sleep(30)
        under_way, most = under_way + 1, max(most, under_way + 1)
        await asyncio.sleep(0.02)
        under_way -= 1
        return "ok"

    server = await listen(tmp_path / "s.sock", slow, at_once=2)
    _, polling = await asyncio.open_unix_connection(tmp_path / "s.sock")
    for number in range(5):
        polling.write(wire.encode({"jsonrpc": "2.0", "id": number, "method": "recv"}))
    assert await asyncio.gather(*(ask(tmp_path / "s.sock", "send") for _ in range(8))) == ["ok"] * 8
    assert most == 2
    polling.close()
    server.close()


async def test_what_was_dear_to_read_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "BURST", 0.0)
    monkeypatch.setattr(share, "REST", 0.1)
    dear, begun = share.Share(), asyncio.get_running_loop().time()
    for _ in range(3):
        await dear.read_in_turn(b"{}", 1.0)
    assert asyncio.get_running_loop().time() - begun >= 0.19  # two rests of a tenth of the second that each line took


def test_the_deepest_line_that_is_taken_is_not_deep() -> None:
    assert decode(b'{"a":' * 127 + b"1" + b"}" * 127)
    with pytest.raises(Refused, match="too deeply: 128"):
        decode(b'{"a":' * 129 + b"1" + b"}" * 129)


def test_a_refusal_said_keeps_nothing_of_the_request() -> None:
    with pytest.raises(Refused) as refused:
        decode(b"{" + b" " * 1000)
    wire.said(refused.value)
    assert (refused.value.__traceback__, refused.value.__context__) == (None, None)


class Loud:
    """Answers of 64 KiB each."""

    def __call__(self, peer: wire.Peer, method: str, params: dict) -> asyncio.Future:
        done = asyncio.get_running_loop().create_future()
        done.set_result("x" * 65536)
        return done


ASKS = b"".join(wire.encode({"jsonrpc": "2.0", "id": number, "method": "loud"}) for number in range(60))


async def test_who_reads_slowly_is_told_everything_in_order(tmp_path: Path) -> None:
    server = await listen(tmp_path / "s.sock", Loud())
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock", limit=4 * LINE)
    writer.write(ASKS)
    writer.write_eof()
    told = []
    async for line in reader:
        told.append(json.loads(line)["id"])
        await asyncio.sleep(0.002)
    writer.close()
    server.close()
    assert told == list(range(60))


async def test_what_the_socket_did_not_take_follows_once_it_does(tmp_path: Path) -> None:
    async def long(peer: wire.Peer, method: str, params: dict) -> str:
        return "x" * params["size"]

    server = await listen(tmp_path / "s.sock", long)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock", limit=1000)
    for size in range(100_000, 400_000, 20_000):
        writer.write(wire.encode({"jsonrpc": "2.0", "id": 1, "method": "long", "params": {"size": size}}))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            got = 0
            while got < size:
                got += len(await reader.read(10_000))
    writer.close()
    server.close()


async def test_who_does_not_read_loses_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "DRAIN", 0.2)
    server = await listen(tmp_path / "s.sock", Loud())
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(tmp_path / "s.sock"))
    sock.sendall(ASKS)
    await asyncio.sleep(0.6)
    sock.settimeout(5)
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while some := await asyncio.to_thread(sock.recv, 1 << 20):
            got += len(some)
    assert 0 < got < 30 * 65536
    sock.close()
    server.close()


async def test_who_has_said_its_last_word_still_hears_what_it_is_told(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(wire.encode({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
    writer.write_eof()
    assert json.loads(await asyncio.wait_for(reader.read(), 5))["id"] == 1
    writer.close()


async def test_a_session_gets_what_was_sent_along_and_its_peer_what_was_said_before(tmp_path: Path) -> None:
    async def session(
        peer: wire.Peer, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, share: share.Share
    ) -> None:
        writer.write(line[-20:] + b"\n" + await reader.readline() + await reader.readline())

    server = await listen(tmp_path / "s.sock", echo, session=session)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
    writer.write(b'[]\n{"jsonrpc":"2.0","id":1,"method":"initialize"}\nsecond\nthi')
    await asyncio.sleep(0.05)
    writer.write(b"rd\n")
    told = await asyncio.wait_for(reader.read(), 5)
    assert json.loads(told.splitlines()[0])["error"]["code"] == CODES["invalid_request"]
    assert told.splitlines()[1:] == [b'ethod":"initialize"}', b"second", b"third"]
    writer.close()
    server.close()


async def test_a_session_that_is_over_makes_room_for_another_connection(tmp_path: Path) -> None:
    async def session(peer: wire.Peer, line: bytes, reader: Any, writer: asyncio.StreamWriter, share: Any) -> None:
        writer.write(b"over\n")

    server = await listen(tmp_path / "s.sock", echo, session=session, connections=1)
    for _ in range(3):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(b'{"jsonrpc":"2.0","id":1,"method":"initialize"}\n')
        assert await asyncio.wait_for(reader.read(), 5) == b"over\n"
        writer.close()
        await asyncio.sleep(0.02)
    server.close()


async def test_whoever_goes_in_whatever_way_leaves_no_descriptor_and_no_place_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LINGER", 0.05)
    server = await listen(tmp_path / "s.sock", echo, connections=3)
    before = len(os.listdir("/proc/self/fd"))
    poll = wire.encode({"jsonrpc": "2.0", "id": 1, "method": "recv"})
    for sent in (b"", b"{", poll, poll * 20, b"x" * 2 * LINE, b"[]\n" * 40, poll + b'{"half'):
        for ends in (False, True):
            socks = [socket.socket(socket.AF_UNIX) for _ in range(5)]
            for sock in socks:
                sock.setblocking(False)
                sock.connect(str(tmp_path / "s.sock"))
                with contextlib.suppress(BlockingIOError):
                    sock.send(sent)
                if ends:
                    sock.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.02)
            for sock in socks:
                sock.close()
    async with asyncio.timeout(5):
        while len(os.listdir("/proc/self/fd")) > before:  # noqa: ASYNC110 (nothing says when the kernel is done)
            await asyncio.sleep(0.01)
    held = [await asyncio.open_unix_connection(tmp_path / "s.sock") for _ in range(3)]
    for reader, writer in held:
        writer.write(wire.encode({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        assert "result" in json.loads(await asyncio.wait_for(reader.readline(), 5))
        writer.close()
    server.close()
