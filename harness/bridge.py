"""The way out: a port on the container's loopback whose bytes go through the host's egress socket."""

import asyncio
from functools import partial
from pathlib import Path

# How long a connection waits for a host daemon that is restarting.
PATIENCE = 30.0
CHUNK = 64 * 1024


async def listen(egress: Path) -> tuple[asyncio.Server, int]:
    """The server and the free port it took."""
    server = await asyncio.start_server(partial(_carry, egress), "127.0.0.1", 0, limit=CHUNK)
    return server, server.sockets[0].getsockname()[1]


async def _carry(egress: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            host_reader, host_writer = await _connect(egress)
    except TimeoutError:
        writer.close()
        return
    try:
        await asyncio.gather(_pipe(reader, host_writer), _pipe(host_reader, writer))
    except OSError:
        pass  # one side broke off: so does the other
    finally:
        host_writer.close()
        writer.close()


async def _connect(egress: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_unix_connection(egress, limit=CHUNK)
        except OSError:
            await asyncio.sleep(0.2)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # drain() holds the reading back while the other side does not take it: at most a chunk or two is in memory.
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
