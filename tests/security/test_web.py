"""What a stranger at the pages' port, another site in the operator's browser, and a browser that stops reading can do."""

import asyncio
import base64
import contextlib
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from broker.wire import Client
from hyperhive.demo.model import ScriptedModel
from tests.hives import PROJECT, Hive, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def hive() -> Iterator[Hive]:
    with ScriptedModel([]) as model:
        hive = Hive(model.url)
        try:
            hive.start()
            hive.ask("stop", name="hm1nd")
            until(lambda: hive.agent("hm1nd")["status"] == "stopped", "hm1nd is stopped")
            yield hive
        finally:
            hive.close()


def asked(hive: Hive, method: str = "GET", path: str = "/", body: str | None = None, **headers: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", hive.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.fixture(scope="module")
def session(hive: Hive) -> str:
    """The cookie of somebody who is signed in."""
    form = HTTPConnection("127.0.0.1", hive.port, timeout=20)
    form.request("GET", "/login")
    page = form.getresponse()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    link = hive.ask("link")["url"].partition("#")[2]
    body = urlencode({"csrfmiddlewaretoken": token[1], "token": link})
    form.request(
        "POST", "/login", body, {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded",
        "Origin": f"http://127.0.0.1:{hive.port}"},
    )  # fmt: skip
    answer = form.getresponse()
    assert answer.status == 302
    form.close()
    return next(one for one in answer.headers.get_all("Set-Cookie") if "session" in one).partition(";")[0]


# ---- bodies


@pytest.mark.parametrize("way", ["announced", "chunked", "understated"])
@pytest.mark.parametrize("path", ["/login", "/nowhere"])
def test_a_body_of_300_megabytes_is_cut_off_before_the_second(hive: Hive, way: str, path: str) -> None:
    with socket.create_connection(("127.0.0.1", hive.port), timeout=20) as sock:
        # Small, so that what is sent is what was taken and not what lies in the kernel.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        length = "Transfer-Encoding: chunked" if way == "chunked" else f"Content-Length: {300 * MIB}"
        length = "Content-Length: 1" if way == "understated" else length
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{hive.port}\r\n{length}\r\n\r\n".encode())
        piece, sent = b"x" * 32768, 0
        if way == "chunked":
            piece = b"8000\r\n" + piece + b"\r\n"
        with contextlib.suppress(ConnectionError):
            while sent < 300 * MIB:
                sock.sendall(piece)
                sent += len(piece)
    assert sent <= 2 * MIB + sock_room()


def sock_room() -> int:
    """What the other end's kernel takes before anybody reads it (tcp(7), tcp_rmem: its default)."""
    return int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[1])


def test_a_body_that_is_too_large_is_told_so(hive: Hive) -> None:
    answer = asked(hive, "POST", "/login", None, Content_Length=str(300 * MIB))
    assert answer.status == 413


# ---- other sites


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "169.254.1.1:{port}", "", "a b"]
)
def test_a_name_that_is_not_ours_is_no_way_in(hive: Hive, session: str, host: str) -> None:
    """DNS rebinding: another site's name that has come to mean 127.0.0.1."""
    for path in ("/", "/login", "/healthz", "/static/dashboard/hive.js"):
        answer = asked(hive, path=path, Host=host.format(port=hive.port), Cookie=session)
        assert answer.status == 400 or path.startswith("/static/"), path


def test_each_of_our_own_names_is_a_way_in(hive: Hive) -> None:
    for host in ("127.0.0.1", "localhost", "hive.localhost", "[::1]"):
        assert asked(hive, path="/login", Host=f"{host}:{hive.port}").status == 200


ORIGINS = ("http://evil.example", "http://127.0.0.1:1", "http://localhost:{port}", "null", "")


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_origin_neither_posts_nor_listens(hive: Hive, session: str, origin: str) -> None:
    """A page on another port of this very host is another site, though the cookie comes along."""
    origin = origin.format(port=hive.port)
    answer = asked(hive, "POST", "/containers", "name=scout", Cookie=session, Origin=origin)
    assert answer.status == 403
    status, sock = handshake(hive, session, origin)
    sock.close()
    assert status == 403
    assert all(row["name"] != "scout" for row in hive.ask("list")["agents"])


def handshake(hive: Hive, cookie: str, origin: str) -> tuple[int, socket.socket]:
    sock = socket.create_connection(("127.0.0.1", hive.port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    said = f"Origin: {origin}\r\n" if origin else ""
    sock.sendall(
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{hive.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{said}"
        f"Cookie: {cookie}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    return int(sock.recv(13).split()[1]), sock


# ---- a reader that stops


def test_browsers_that_stop_reading_cost_the_daemon_next_to_nothing(hive: Hive, session: str) -> None:
    daemon = psutil.Process(hive.daemon.pid)
    events = Events(hive)
    events.write(400)
    before = daemon.memory_info().rss
    stuck = [handshake(hive, session, f"http://127.0.0.1:{hive.port}") for _ in range(8)]
    assert [status for status, _ in stuck] == [101] * 8
    for _, sock in stuck:
        sock.sendall(masked(b'{"after": 0}'))
    events.write(3000)
    grown = daemon.memory_info().rss - before
    unread = [left(sock) for _, sock in stuck]
    assert max(unread) <= MIB, "a browser that acknowledges nothing was sent more than its window"
    assert grown <= 16 * MIB, f"{grown / MIB:.1f} MiB more"


def left(sock: socket.socket) -> int:
    """The bytes that lie there for it; then it is closed."""
    count = 0
    sock.settimeout(0.5)
    with sock, contextlib.suppress(OSError):
        while data := sock.recv(MIB):
            count += len(data)
    return count


def masked(text: bytes) -> bytes:
    """A frame of text as a browser sends it (RFC 6455, section 5.2), under a mask of zeros."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


class Events:
    """Long events of hm1nd, each different, through its own socket."""

    def __init__(self, hive: Hive):
        self.path = hive.runtime / "manager/mcp.sock"

    def write(self, count: int) -> None:
        asyncio.run(self._write(count))

    async def _write(self, count: int) -> None:
        client = Client(self.path)
        seq = (await client.call("hello", harness=str(uuid.uuid4()), cli_version="2.1.330", seq=0))["seq"]
        for first in range(seq + 1, seq + 1 + count, 20):
            rows = [event(number) for number in range(first, first + 20)]
            await client.call("events", rows=rows, turns=[])
        await client.close()


def event(seq: int) -> dict[str, Any]:
    """As long as a page shows one."""
    text = f"{seq}\n" + os.urandom(2000).hex()
    return {"seq": seq, "turn": None, "at": datetime.now(UTC).isoformat(), "kind": "user", "payload": {"message": {"content": [
        {"type": "tool_result", "content": text}]}}}  # fmt: skip


# ---- what is said of every page


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/", "/static/dashboard/hive.js", "/healthz"])
def test_every_answer_is_fenced_in(hive: Hive, path: str) -> None:
    headers = asked(hive, path=path).headers
    policy = dict(part.partition(" ")[::2] for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'", "connect-src": "'self'",
        "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    if not path.startswith("/static/"):
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"


def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(hive: Hive) -> None:
    cookie = asked(hive, path="/login").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


# Of what Django would have for the open internet: TLS is a proxy's, in front of an address that is not ours to know.
TLS = {"security.W004", "security.W008", "security.W012", "security.W016"}


def test_django_itself_finds_nothing_but_tls_to_complain_about(hive: Hive) -> None:
    command = [sys.executable, "manage.py", "check", "--deploy"]
    done = subprocess.run(command, cwd=PROJECT, env=hive.env, capture_output=True, text=True, timeout=60)
    assert set(re.findall(r"\((\w+\.\w\d+)\)", done.stderr)) <= TLS, done.stderr
    assert done.returncode == 0
