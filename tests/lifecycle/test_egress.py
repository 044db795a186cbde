"""The way out: what is on the list gets through, unchanged and as it comes; everything else is refused with a sentence."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import threading

import pytest

from lifecycle import egress, egress_exchange, egress_http, egress_model, egress_names, egress_told


@contextlib.asynccontextmanager
async def serving(handle):
    """A TCP service on 127.0.0.1; its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def relay(places, *allow, gid=None):
    """The path of one agent's socket."""
    path = places / "egress.sock"
    server = await egress.serve(path, "scout", [*egress.EVERYONE, *allow], gid)
    try:
        yield path
    finally:
        server.close()


@contextlib.asynccontextmanager
async def dialled(path):
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(path, request: bytes, whole: bool = True) -> bytes:
    async with dialled(path) as (reader, writer):
        writer.write(request)
        if whole:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)


async def echo(reader, writer):
    while data := await reader.read(1000):
        writer.write(data.upper())
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_tunnel_leads_to_what_is_listed_both_ways_and_piece_by_piece(places, version):
    async with serving(echo) as port, relay(places, f"127.0.0.1:{port}") as path, contextlib.AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(dialled(path))
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
        for word in (b"one", b"two"):
            writer.write(word)
            assert await reader.readexactly(3) == word.upper()
        writer.write_eof()
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "target",
    [
        "example.org:443", "api.anthropic.com:80", "api.anthropic.com.evil.example:443", "xapi.anthropic.com:443",
        "127.0.0.1:7000", "169.254.169.254:80", "[::1]:443", "localhost:443", "api.anthropic.com", "api.anthropic.com:0",
        "api.anthropic.com:99999", "user@api.anthropic.com:443", "api.anthropic.com:443/x", "api.anthropic.com%00.x:443",
    ],
)  # fmt: skip
async def test_what_is_not_listed_is_refused_with_a_sentence(places, caplog, target):
    async with relay(places) as path:
        answer = await ask(path, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["message"].startswith("hyperhive: ")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
)
async def test_a_listed_name_at_a_private_address_is_refused(places, monkeypatch, address):
    def getaddrinfo(*_args, **_kwargs):
        return [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", (address, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with relay(places, "rebind.example") as path:
        answer = await ask(path, b"CONNECT rebind.example:443 HTTP/1.1\r\n\r\n")
    assert b"403" in answer[:20]
    assert b"private address" in answer


async def test_a_name_server_that_does_not_answer_holds_up_nothing_but_its_agent(places, monkeypatch):
    asked, first, answer, loop = [], asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def getaddrinfo(*_args, **_kwargs):
        asked.append(1)
        loop.call_soon_threadsafe(first.set)
        answer.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with relay(places, "slow.example") as path, contextlib.AsyncExitStack() as stack:
        for _ in range(40):
            _, writer = await stack.enter_async_context(dialled(path))
            writer.write(b"CONNECT slow.example:443 HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            await first.wait()
            await asyncio.to_thread(str)
        assert len(asked) <= egress.LOOKUPS
        answer.set()


def test_only_the_internet_at_large_is_public():
    public = ["93.184.216.34", "2606:2800:220:1::1"]
    private = [
        "0.0.0.0",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "224.0.0.1",
    ]
    private += [
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:8.8.8.8",
        "2002:a00:1::",
        "64:ff9b::1",
    ]
    assert [address for address in public + private if egress_names.public(address)] == public


async def test_a_host_that_does_not_answer_is_told_as_such(places):
    async with serving(echo) as port:
        pass
    async with relay(places, f"127.0.0.1:{port}") as path:
        answer = await ask(path, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://example.org/ HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"POST https://a.b/v1/messages HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_or_not_listed_is_not_fetched(places, request_):
    async with relay(places) as path:
        assert (await ask(path, request_)).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n", b"POST /v1/messages HTTP/1.0\r\n\r\n", b"POST /v1/mess ages HTTP/1.1\r\n\r\n", b"\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nA : b\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nA: b\nX: y\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_two_ends_could_read_differently_is_refused(places, settings, head):
    settings.HIVE_MODEL_URL = "http://127.0.0.1:1"
    async with relay(places) as path:
        assert (await ask(path, head)).startswith(b"HTTP/1.1 400 ")


async def once(reader, writer):
    """A server that answers one request with what it was asked."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX-Server: one\r\n\r\n" + head)
    writer.write_eof()
    await reader.read()
    writer.close()


async def test_plain_http_reaches_what_is_listed_with_its_port(places):
    async with serving(once) as port, relay(places, f"127.0.0.1:{port}", "127.0.0.1") as path:
        fields = "Host: evil.example\r\nCookie: mine\r\nProxy-Authorization: x\r\nVia: container"
        answer = await ask(path, f"GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        assert b"403" in (await ask(path, b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n"))[:20], "port 80 is not listed"
    head, seen, _ = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nconnection: close")
    assert seen.split(b"\r\n") == [
        b"GET /a?b=c HTTP/1.1", f"host: 127.0.0.1:{port}".encode(), b"connection: close", b"cookie: mine",
    ]  # fmt: skip


async def test_a_redirect_is_the_agents_own_to_follow_and_leads_nowhere_unlisted(places):
    async def away(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:7000/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with serving(away) as port, relay(places, f"127.0.0.1:{port}") as path:
        answer = await ask(path, f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode())
        assert b" 302 " in answer.splitlines()[0]
        assert b" 403 " in (await ask(path, b"GET http://127.0.0.1:7000/ HTTP/1.1\r\n\r\n")).splitlines()[0]


@pytest.mark.parametrize("which", ["HIVE_BIND", "HIVE_MANAGER_PORT", "HIVE_AGENT_PORTS"])
async def test_no_list_opens_a_page_of_the_hive(places, settings, which):
    """Not even one that names its very address."""
    async with serving(echo) as port, relay(places, f"127.0.0.1:{port}") as path:
        request = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode()
        assert (await ask(path, request)).startswith(b"HTTP/1.1 200 ")
        page = {
            "HIVE_BIND": f"0.0.0.0:{port}",
            "HIVE_MANAGER_PORT": f"{port}",
            "HIVE_AGENT_PORTS": f"{port - 1}-{port + 1}",
        }
        setattr(settings, which, page[which])
        assert b"a page of this hive" in await ask(path, request)
        assert b"a page of this hive" in await ask(path, f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode())


# ---- what is told of it


async def test_traffic_is_counted_each_way_and_goes_on_counting_when_the_list_changes(places):
    egress_told.TRAFFIC.pop("scout", None)
    async with serving(echo) as port:
        for _ in range(2):
            async with relay(places, f"127.0.0.1:{port}") as path:
                assert (await ask(path, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhello".encode())).endswith(b"HELLO")
                await ask(path, b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
    assert egress_told.traffic("scout") == {
        "open": 0, "connections": 2, "refused": 2, "unreachable": 0, "sent": 10, "received": 10,
        "hosts": {f"127.0.0.1:{port}": 2},
    }  # fmt: skip


async def test_a_refusal_is_told_with_the_line_that_would_allow_it(places):
    told = []
    server = await egress.serve(places / "e.sock", "scout", [*egress.EVERYONE, "docs.example.org"], tell=told.append)
    for target in ("evil.example:443", "evil.example:8443", "evil.example:443"):
        await ask(places / "e.sock", f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
    server.close()
    assert [(one["target"], one["line"]) for one in told] == [
        ("evil.example:443", 'egress = ["docs.example.org", "evil.example"]'),
        ("evil.example:8443", 'egress = ["docs.example.org", "evil.example:8443"]'),
    ]
    assert told[0]["text"].endswith(
        'To allow it, its configuration has to say: egress = ["docs.example.org", "evil.example"]'
    )


def test_on_nixos_the_line_is_nix(settings):
    settings.HIVE_DRIVER = "nixos"
    assert egress_told.Refusals(print, ["a.org"]).line("b.org:80") == 'hyperhive.egress = [ "a.org" "b.org:80" ];'


def test_a_flood_of_refusals_is_a_few_events(monkeypatch):
    told = []
    refusals = egress_told.Refusals(told.append)
    clock = iter(range(100_000))
    monkeypatch.setattr(egress_told.time, "monotonic", lambda: next(clock) / 1000)
    for number in range(10_000):
        refusals.note(f"host{number}.example:443", "no", "")
    assert len(told) == len(refusals.last) == egress_told.TARGETS
    refusals.last.clear()
    refusals.note("another.example:443", "no", "")
    assert told[-1]["untold"] == 10_000 - egress_told.TARGETS
    assert told[-1]["text"] == "no 9980 more were refused since the last that was told."


# ---- the model API


class Model:
    """A stand-in that keeps what it was asked and streams its answer in pieces."""

    def __init__(self):
        self.seen = b""
        self.go_on = asyncio.Event()

    async def __call__(self, reader, writer):
        try:
            await self.answer(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # its request was cut off
        finally:
            writer.close()

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.seen = head
        if b"content-length: " in head:
            self.seen += await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        elif b"chunked" in head:
            self.seen += await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nevent: one\n\n")
        await writer.drain()
        await self.go_on.wait()
        writer.write(b"event: two\n\n")


async def test_a_message_reaches_the_model_in_the_hosts_name_and_its_answer_streams(places, settings):
    model = Model()
    (places / "key").write_text("sk-real\n")
    settings.HIVE_ANTHROPIC_API_KEY_FILE = str(places / "key")
    async with serving(model) as port, relay(places) as path, dialled(path) as (reader, writer):
        settings.HIVE_MODEL_URL = f"http://127.0.0.1:{port}/base"
        writer.write(
            b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: evil.example\r\nx-api-key: held-by-the-host\r\n"
            b"Authorization: Bearer t\r\nCookie: c\r\nConnection: keep-alive, X-Mine\r\nX-Mine: secret\r\n"
            b"anthropic-version: 2023-06-01\r\nContent-Length: 4\r\n\r\nbody"
        )
        # The first piece is here while the second has not been written yet.
        assert b"event: one" in await asyncio.wait_for(reader.readuntil(b"one\n\n"), 5)
        model.go_on.set()
        assert await reader.read() == b"event: two\n\n"
    head, body = model.seen.split(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert (first, body) == (b"POST /base/v1/messages?beta=true HTTP/1.1", b"body")
    ours = {f"host: 127.0.0.1:{port}".encode(), b"connection: close", b"x-api-key: sk-real"}
    assert set(fields) == ours | {b"anthropic-version: 2023-06-01", b"content-length: 4"}
    assert len(fields) == 5


async def test_a_body_in_chunks_arrives_in_chunks(places, settings):
    model = Model()
    model.go_on.set()
    async with serving(model) as port, relay(places) as path:
        settings.HIVE_MODEL_URL = f"http://127.0.0.1:{port}"
        head = b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        await ask(path, head + b"4;x=y\r\nbody\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n")
    assert model.seen.endswith(b"\r\n\r\n4\r\nbody\r\n1\r\n!\r\n0\r\n\r\n")


async def test_a_second_request_behind_the_body_goes_nowhere(places, settings):
    model = Model()
    model.go_on.set()
    async with serving(model) as port, relay(places) as path:
        settings.HIVE_MODEL_URL = f"http://127.0.0.1:{port}"
        await ask(path, b"POST /v1/messages HTTP/1.1\r\nContent-Length: 1\r\n\r\nxDELETE /v1/files/1 HTTP/1.1\r\n\r\n")
    assert b"DELETE" not in model.seen


async def test_the_length_of_a_body_cannot_be_named_as_of_this_hop_alone(places, settings):
    """Then the body would be read as a second request, behind the first, on the connection that has the host's key."""
    model = Model()
    model.go_on.set()
    async with serving(model) as port, relay(places) as path:
        settings.HIVE_MODEL_URL = f"http://127.0.0.1:{port}"
        await ask(path, b"POST /v1/messages HTTP/1.1\r\nConnection: content-length\r\nContent-Length: 4\r\n\r\nbody")
    assert b"content-length: 4" in model.seen
    assert model.seen.endswith(b"\r\n\r\nbody")


async def test_a_body_that_is_cut_off_ends_the_request(places, settings):
    model = Model()
    async with serving(model) as port, relay(places) as path:
        settings.HIVE_MODEL_URL = f"http://127.0.0.1:{port}"
        with contextlib.suppress(ConnectionError):
            answer = await ask(path, b"POST /v1/messages HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
            assert b" 502 " in answer.splitlines()[0]


@pytest.mark.parametrize(
    ("request_line", "taken"),
    [
        ("POST /v1/messages", True), ("POST /v1/messages?beta=true", True), ("POST /v1/messages/count_tokens", True),
        ("HEAD /", True),
        ("GET /api/hello", True), ("HEAD /api/hello", True), ("GET /v1/messages", False), ("POST /v1/messages/batches", False),
        ("POST /v1/files", False), ("GET /", False), ("DELETE /v1/messages", False), ("POST /v1/messages/../files", False),
        ("POST //v1/messages", False), ("GET /v1/models", False), ("POST /v1/messages/count_tokens/x", False),
    ],
)  # fmt: skip
def test_the_routes_are_messages_and_nothing_else(request_line, taken):
    assert bool(egress_model.ROUTES.fullmatch(request_line)) is taken


async def test_other_paths_of_the_model_api_are_refused(places, settings):
    settings.HIVE_MODEL_URL = "http://127.0.0.1:1"
    async with relay(places) as path:
        assert b"for messages alone" in await ask(path, b"GET /v1/files HTTP/1.1\r\n\r\n")


async def test_without_a_key_on_the_host_the_model_is_not_served(places, settings):
    settings.HIVE_MODEL_URL = settings.HIVE_ANTHROPIC_API_KEY_FILE = ""
    async with relay(places) as path:
        assert b"HIVE_ANTHROPIC_API_KEY_FILE" in await ask(path, b"POST /v1/messages HTTP/1.1\r\n\r\n")


def test_with_a_key_file_alone_the_model_is_anthropics(settings):
    settings.HIVE_MODEL_URL, settings.HIVE_ANTHROPIC_API_KEY_FILE = "", "/k"
    assert egress_model.upstream() == "https://api.anthropic.com"


async def test_connections_are_capped_per_agent(places, monkeypatch):
    monkeypatch.setattr(egress, "CONNECTIONS", 2)
    async with relay(places) as path, dialled(path), dialled(path):
        assert b"already has 2 connections" in await ask(path, b"CONNECT a:1 HTTP/1.1\r\n\r\n")


async def test_a_head_that_does_not_come_is_not_waited_for(places, monkeypatch):
    monkeypatch.setattr(egress, "HEAD_TIME", 0.1)
    async with relay(places) as path:
        assert await ask(path, b"CONNECT ", whole=False) == b""


async def test_refusals_are_counted_and_logged(places, caplog):
    relay_ = egress.Relay("scout", frozenset())
    server = await asyncio.start_unix_server(relay_.serve, places / "e.sock")
    logging.getLogger("hive").propagate = True
    try:
        await ask(places / "e.sock", b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
    finally:
        logging.getLogger("hive").propagate = False
        server.close()
    assert relay_.counts["refused"] == 1
    assert "scout: refused: evil.example:443 is not on the list" in caplog.text


async def test_a_flood_of_refusals_is_a_few_lines_of_the_log(places, caplog):
    logging.getLogger("hive").propagate = True
    try:
        async with relay(places) as path:
            for _ in range(50):
                assert b"403" in await ask(path, b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
    finally:
        logging.getLogger("hive").propagate = False
    assert 0 < caplog.text.count("evil.example:443 is not on the list") < 5


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
async def test_the_socket_is_its_agents_alone(places):
    async with relay(places, gid=1_900_000_123) as path:
        facts = path.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (0, 1_900_000_123, 0o660)


def test_a_refusal_looks_like_the_model_apis_own_errors():
    head, body = egress_http.refusal(403, "No.").split(b"\r\n\r\n")
    assert json.loads(body) == {"type": "error", "error": {"type": "permission_error", "message": "hyperhive: No."}}
    assert f"Content-Length: {len(body)}".encode() in head


def test_an_answer_always_says_that_its_connection_ends():
    head = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\n"
    assert egress_exchange.closing(head) == b"HTTP/1.1 200 OK\r\nconnection: close\r\nContent-Length: 2\r\n\r\n"
