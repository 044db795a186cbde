"""One request and its answer between an agent and a server that the relay has reached, both as they come."""

import asyncio

from .egress_http import HOP, Head, copy_body, refusal
from .egress_told import Traffic

# Seconds of silence: a long answer thinks for minutes before its first word.
SILENCE = 900.0
PIECE = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def rewritten(head: Head, target: str, host: str, dropped: set[str], added: dict[str, str]) -> bytes:
    """The agent's head for the next hop: this target at this host, without the fields of its own hop and those dropped."""
    named = {name.strip().lower() for value in head.all("connection") for name in value.split(",")}
    # Whoever could take the length away would hand the body on as a second request.
    gone = (HOP | {"host"} | dropped | named) - {"content-length"}
    fields = {"host": host, "connection": "close"} | added
    lines = [f"{name}: {value}" for name, value in head.fields if name not in gone]
    if head.length() is None:
        fields["transfer-encoding"] = "chunked"
    first = f"{head.method} {target} HTTP/1.1"
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields.items()), *lines, "", ""]).encode(
        "latin-1"
    )


async def exchange(head: Head, request: bytes, agent: Streams, server: Streams, traffic: Traffic) -> None:
    """`request` is the head that the server gets; the body is the agent's."""
    try:
        server[1].write(request)
        sending = asyncio.create_task(_send_body(head, agent[0], server[1], traffic))
        try:
            await _copy_answer(server[0], agent[1], traffic)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        server[1].close()


async def _send_body(head: Head, reader: asyncio.StreamReader, server: asyncio.StreamWriter, traffic: Traffic) -> None:
    """A body that is cut off or malformed ends the request: the server must not wait for the rest."""
    try:
        await copy_body(head, reader, server, traffic.up)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        server.close()


async def _copy_answer(answer: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
    """To its end, which the server makes by closing: we asked it to."""
    try:
        async with asyncio.timeout(SILENCE):
            writer.write(closing(await answer.readuntil(b"\r\n\r\n")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.write(refusal(502, "The server hung up without an answer."))
        return
    while True:
        async with asyncio.timeout(SILENCE):
            data = await answer.read(PIECE)
            if not data:
                return
            await traffic.down(len(data))
            writer.write(data)
            await writer.drain()


def closing(head: bytes) -> bytes:
    """The answer's head, saying that the connection ends with it: the CLI would use a silent one again, and find it dead."""
    status, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [field for field in fields if not field.lower().startswith((b"connection:", b"keep-alive:"))]
    return b"\r\n".join([status, b"connection: close", *kept, b"", b""])
