"""The little HTTP/1.1 that the relay speaks: a head read strictly, a body framed one way only, a refusal written.

Strict, because what two ends read differently is a way past the list (request smuggling): RFC 9112, sections 3, 5, 6, 11.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MOST_HEAD, MOST_FIELDS = 32 * 1024, 200
MOST_BODY = 64 * 1024 * 1024
PIECE = 64 * 1024

# Python's own http.client, and so pip, asks for a tunnel in HTTP/1.0: nothing of it is framed, so nothing can be misread.
REQUEST_LINE = re.compile(rb"(?:([A-Z]{1,16}) ([!-~]{1,4000}) HTTP/1\.1|(CONNECT) ([!-~]{1,4000}) HTTP/1\.0)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\x80-\xff\t]*?)[ \t]*")
# Of one hop only, so never handed on (RFC 9110, section 7.6.1).
HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}

REASONS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}


class BadRequest(Exception):
    """What came is no HTTP that we take; the text is a sentence."""


@dataclass
class Head:
    method: str
    target: str
    fields: list[tuple[str, str]]

    @property
    def way(self) -> str:
        """The form of the target (RFC 9112, section 3.2): 'authority' to tunnel, 'origin' for a path, else 'absolute'."""
        if self.method == "CONNECT":
            return "authority"
        return "origin" if self.target.startswith("/") else "absolute"

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def length(self) -> int | None:
        """Bytes of the body; None when it comes in chunks."""
        lengths, codings = self.all("content-length"), self.all("transfer-encoding")
        if codings:
            if lengths or [coding.lower() for coding in codings] != ["chunked"]:
                raise BadRequest("A body is framed by Content-Length or by 'Transfer-Encoding: chunked', not by both.")
            return None
        if not lengths:
            return 0
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,12}", lengths[0]) or int(lengths[0]) > MOST_BODY:
            raise BadRequest(f"Content-Length must stand once and be at most {MOST_BODY}.")
        return int(lengths[0])


async def read_head(reader: asyncio.StreamReader, turn: Callable[[], Awaitable[None]]) -> Head:
    """Read at `turn`, for what reads it costs time that the daemon's other work waits for."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise BadRequest(f"A head is at most {MOST_HEAD} bytes.") from None
    if len(block) > MOST_HEAD:
        raise BadRequest(f"A head is at most {MOST_HEAD} bytes.")
    await turn()
    first, *lines = block[:-4].split(b"\r\n")
    if len(lines) > MOST_FIELDS:
        raise BadRequest(f"A head has at most {MOST_FIELDS} fields.")
    if not (request := REQUEST_LINE.fullmatch(first)):
        raise BadRequest("The first line is no HTTP/1.1 request.")
    fields = []
    for line in lines:
        if not (found := FIELD.fullmatch(line)):
            raise BadRequest("A header line is malformed.")
        fields.append((found[1].decode().lower(), found[2].decode("latin-1")))
    return Head((request[1] or request[3]).decode(), (request[2] or request[4]).decode(), fields)


Count = Callable[[int], Awaitable[None]]


async def copy_body(head: Head, reader: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Count) -> None:
    """The body, as it comes, framed anew as it was; `count` hears how long each piece of it is, and when to go on."""
    length = head.length()
    if length is None:
        await _copy_chunks(reader, sink, count)
        return
    await _copy(length, reader, sink, count)


async def _copy(left: int, reader: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Count) -> None:
    while left:
        data = await reader.read(min(left, PIECE))
        if not data:
            raise ConnectionResetError("the body was cut off")
        left -= len(data)
        await count(len(data))
        sink.write(data)
        await sink.drain()


async def _copy_chunks(reader: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Count) -> None:
    total = 0
    while True:
        size = await reader.readuntil(b"\r\n")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}(;[ -~\t]{0,200})?\r\n", size):
            raise ConnectionResetError("a chunk is malformed")
        left = int(size.split(b";")[0], 16)
        total += left
        if total > MOST_BODY:
            raise ConnectionResetError("the body is too long")
        sink.write(b"%x\r\n" % left)
        if not left:
            break
        await _copy(left, reader, sink, count)
        if await reader.readexactly(2) != b"\r\n":
            raise ConnectionResetError("a chunk is malformed")
        sink.write(b"\r\n")
    # Trailers are read to their end and dropped.
    left = MOST_HEAD
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        left -= len(line)
        if left < 0:
            raise ConnectionResetError("the trailers are too long")
    sink.write(b"\r\n")
    await sink.drain()


def refusal(status: int, sentence: str) -> bytes:
    """An answer in the shape of the model API's errors, so that the CLI shows the sentence."""
    kind = {403: "permission_error", 502: "api_error"}.get(status, "invalid_request_error")
    body = json.dumps({"type": "error", "error": {"type": kind, "message": f"hyperhive: {sentence}"}}).encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
