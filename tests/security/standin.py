"""A little web of the test's own on addresses of this machine: files over TLS and over plain HTTP, and a redirect."""

import contextlib
import socketserver
import ssl
import subprocess
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Web:
    """Listens until `close`; `seen` has the headers of each request."""

    def __init__(self, handler: Any, address: str = "127.0.0.2", port: int = 0, tls: Path | None = None):
        self.seen: list[dict[str, str]] = []
        self.server = ThreadingHTTPServer((address, port), handler)
        self.server.web = self  # type: ignore[attr-defined]
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"{address}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


class Quiet:
    server: Any
    headers: Any

    def log_message(self, *_: Any) -> None:
        self.server.web.seen.append({name.lower(): value for name, value in self.headers.items()})


class Files(Quiet, SimpleHTTPRequestHandler):
    """A directory: `partial(Files, directory=…)`."""


class Page(Quiet, BaseHTTPRequestHandler):
    """A page that says hello, or leads away."""

    protocol_version = "HTTP/1.1"
    away = ""

    def do_GET(self) -> None:
        body = b"<title>hello</title>"
        self.send_response(302 if self.away else 200)
        if self.away:
            self.send_header("Location", self.away)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def files(directory: Path, tls: Path) -> Web:
    return Web(partial(Files, directory=str(directory)), tls=tls)


def certificate(folder: Path, *names: str) -> Path:
    """A key and a certificate for these names, signed by itself, in that folder."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stand-in"]
    command += ["-addext", f"subjectAltName={','.join(names)}"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class Endless:
    """Takes whatever is posted, and answers all else with a body that never ends, as fast as it is taken."""

    def __enter__(self) -> "Endless":
        self.server = socketserver.ThreadingTCPServer(("127.0.0.2", 0), Endlessly)
        self.server.daemon_threads = True
        self.address = f"127.0.0.2:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Endlessly(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            if self.request.recv(65536).startswith(b"POST"):
                while self.request.recv(65536):
                    pass
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                self.request.sendall(b"x" * 65536)
