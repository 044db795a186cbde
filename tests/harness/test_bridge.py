import asyncio
from pathlib import Path

from harness import bridge


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"bye")
    writer.close()


async def test_bytes_go_both_ways_and_an_end_is_an_end(tmp_path: Path) -> None:
    egress = await asyncio.start_unix_server(echo, tmp_path / "egress.sock")
    server, port = await bridge.listen(tmp_path / "egress.sock")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 1_000_000)
    writer.write_eof()
    assert await reader.read() == b"x" * 1_000_000 + b"bye"
    writer.close()
    server.close()
    egress.close()


async def test_a_host_that_restarts_is_waited_for(tmp_path: Path) -> None:
    server, port = await bridge.listen(tmp_path / "egress.sock")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    writer.write_eof()
    await asyncio.sleep(0.5)
    egress = await asyncio.start_unix_server(echo, tmp_path / "egress.sock")
    assert await asyncio.wait_for(reader.read(), 5) == b"hellobye"
    writer.close()
    server.close()
    egress.close()


async def test_a_host_that_stays_away_ends_the_connection(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bridge, "PATIENCE", 0.3)
    server, port = await bridge.listen(tmp_path / "egress.sock")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    server.close()
