"""A local stand-in for the Messages API, driven by rules: what `hive demo` and the tests think with.

with ScriptedModel([Rule(user="weather", reply="Sunny.")]) as model:
    ... ANTHROPIC_BASE_URL=model.url ...
model.requests  # what was asked, in order; a retry is a request of its own
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from hyperhive.demo import stream
from hyperhive.demo.rules import Block, Error, Request, Rule, Text, Think, Use, choose

__all__ = ["Error", "Request", "Rule", "ScriptedModel", "Text", "Think", "Use"]


class ScriptedModel:
    """Listens on 127.0.0.1 from `start()` to `stop()`; the first of the rules that fits answers."""

    def __init__(self, rules: Sequence[Rule], port: int = 0):
        self.rules, self.port = list(rules), port
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._choosing = threading.Lock()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "ScriptedModel":
        self.stopped.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.script = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="scripted-model", daemon=True).start()
        return self

    def stop(self) -> None:
        self.stopped.set()
        if self._server:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> "ScriptedModel":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, request: Request) -> tuple[Rule, Error | list[Block]]:
        with self._choosing:
            self.requests.append(request)
            return choose(self.rules, request)


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    script: ScriptedModel

    def __init__(self, *args: Any):
        self.open_now: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open_now.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open_now.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Connections that are kept alive would otherwise outlive us, each with its thread."""
        for connection in list(self.open_now):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up in mid-stream is what half of the tests are about.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        """The CLI asks at its start whether anybody is there: `/` or `/api/hello`, by version."""
        self._json(200 if self._path in ("/", "/api/hello") else 404, {"message": "hello"})

    do_GET = do_HEAD

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self._path == "/v1/messages":
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._message(Request(json.loads(raw), headers, time.time()))
        elif self._path == "/v1/messages/count_tokens":
            self._json(200, {"input_tokens": len(raw) // 4})
        else:
            self._json(404, stream.error(Error(404, "not_found_error", f"Nothing is at {self._path}.")))

    def _message(self, request: Request) -> None:
        rule, reply = self.server.script.answer(request)
        self.server.script.stopped.wait(rule.before)
        if isinstance(reply, Error):
            self._json(reply.status, stream.error(reply), reply.headers)
        elif request.body.get("stream"):
            self._stream(rule, stream.message(rule, reply, request.model))
        else:
            self._json(200, stream.message(rule, reply, request.model))

    def _stream(self, rule: Rule, whole: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(stream.events(whole)):
            if number == rule.hang:
                self.server.script.stopped.wait()
            # Without the last chunk the client knows that this was not the end.
            if number in (rule.cut, rule.hang):
                self.close_connection = True
                return
            self._chunk(event)
            self.server.script.stopped.wait(rule.pace)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        sent = {"content-type": "application/json", "content-length": str(len(data))} | (headers or {})
        self.send_response(status)
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def end_headers(self) -> None:
        # Who asked for one reply alone is told that it was, or it keeps a dead connection for the next (RFC 9112, 9.6).
        if self.close_connection:
            self.send_header("connection", "close")
        super().end_headers()

    @property
    def _path(self) -> str:
        return urlsplit(self.path).path

    def log_message(self, *_: Any) -> None:
        """`ScriptedModel.requests` is the log."""
