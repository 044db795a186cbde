"""The model API as an agent sees it: the agent's request in the host's name, with the host's key, to where the host says.

What the agent sends as its credential is thrown away, so nothing inside a container is worth stealing.
"""

import asyncio
import re
import ssl
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from .egress_http import HOP, Head, copy_body, refusal
from .egress_names import NotAllowed

ANTHROPIC = "https://api.anthropic.com"
# Seconds to reach it, and of silence: a long answer thinks for minutes before its first word.
CONNECT_TIME, SILENCE = 20.0, 900.0
PIECE = 64 * 1024

# What the CLI asks for, and nothing else of the API: files, batches and the account stay out of reach.
ROUTES = re.compile(r"POST /v1/messages(/count_tokens)?(\?[!-~]*)?|HEAD /|(HEAD|GET) /api/hello")
# The agent's own credential, and what would tell upstream about the container.
DROPPED = HOP | {
    "host",
    "x-api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "forwarded",
    "via",
    "x-forwarded-for",
}


async def forward(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request and its answer, both as they come. NotAllowed for anything but the routes above."""
    base = upstream()
    if not ROUTES.fullmatch(f"{head.method} {head.target}"):
        raise NotAllowed(
            f"The model API is served here for messages alone, not for {head.method} {head.target[:100]!r}."
        )
    head.length()
    try:
        async with asyncio.timeout(CONNECT_TIME):
            answer, request = await _connect(base)
    except (OSError, TimeoutError):
        writer.write(refusal(502, f"The model API at {base} cannot be reached from the host."))
        return
    try:
        request.write(rewritten(head, base))
        sending = asyncio.create_task(_send_body(head, reader, request))
        try:
            await _copy_answer(answer, writer)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        request.close()


async def _send_body(head: Head, reader: asyncio.StreamReader, request: asyncio.StreamWriter) -> None:
    """A body that is cut off or malformed ends the request: upstream must not wait for the rest."""
    try:
        await copy_body(head, reader, request)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        request.close()


def upstream() -> str:
    if settings.HIVE_MODEL_URL:
        return settings.HIVE_MODEL_URL.rstrip("/")
    if settings.HIVE_ANTHROPIC_API_KEY_FILE:
        return ANTHROPIC
    raise NotAllowed(
        "The host holds no key for the model API (HIVE_ANTHROPIC_API_KEY_FILE): log in inside the container."
    )


def rewritten(head: Head, base: str) -> bytes:
    """The agent's head, in the host's name."""
    named = {name.strip().lower() for value in head.all("connection") for name in value.split(",")}
    fields = [(name, value) for name, value in head.fields if name not in DROPPED | named]
    if head.length() is None:
        fields.append(("transfer-encoding", "chunked"))
    if settings.HIVE_ANTHROPIC_API_KEY_FILE:
        fields.append(("x-api-key", key()))
    url = urlsplit(base)
    lines = [
        f"{head.method} {url.path}{head.target} HTTP/1.1",
        f"host: {url.netloc.rpartition('@')[2]}",
        "connection: close",
    ]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


def key() -> str:
    """Read anew each time, so that a changed file counts at once."""
    try:
        found = Path(settings.HIVE_ANTHROPIC_API_KEY_FILE).read_text().strip()
    except OSError as error:
        raise NotAllowed(f"The host cannot read its API key ({error.strerror}: HIVE_ANTHROPIC_API_KEY_FILE).") from None
    if not re.fullmatch(r"[!-~]{1,500}", found):
        raise NotAllowed("The file that HIVE_ANTHROPIC_API_KEY_FILE names holds no key.")
    return found


async def _connect(base: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(base)
    if url.scheme == "https":
        return await asyncio.open_connection(url.hostname, url.port or 443, ssl=_tls())
    return await asyncio.open_connection(url.hostname, url.port or 80)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _copy_answer(answer: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To its end, which upstream makes by closing: we asked it to."""
    try:
        async with asyncio.timeout(SILENCE):
            writer.write(closing(await answer.readuntil(b"\r\n\r\n")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.write(refusal(502, "The model API hung up without an answer."))
        return
    while True:
        async with asyncio.timeout(SILENCE):
            data = await answer.read(PIECE)
            if not data:
                return
            writer.write(data)
            await writer.drain()


def closing(head: bytes) -> bytes:
    """The answer's head, saying that the connection ends with it: the CLI would use a silent one again, and find it dead."""
    status, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [field for field in fields if not field.lower().startswith((b"connection:", b"keep-alive:"))]
    return b"\r\n".join([status, b"connection: close", *kept, b"", b""])
