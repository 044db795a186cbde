"""Many watch one agent, over real sockets of a real server: each gets every event in order, and who sleeps costs nothing."""

import asyncio
import base64
import json
import os
import re
import struct

import psutil
import pytest

from agents.live import WINDOW
from tests.e2e.pages import Pages

pytestmark = pytest.mark.timeout(300)

VIEWERS = 200
SIZE = 4000  # characters of an event


class Viewer:
    """A browser's side of the live link (RFC 6455), as far as a page uses it."""

    def __init__(self, pages: Pages, cookie: str):
        self.pages, self.cookie = pages, cookie
        self.ids: list[int] = []
        self.frames = 0

    async def open(self, after: int = 0) -> "Viewer":
        host, _, port = self.pages.bind.partition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            f"GET /agents/scout/live HTTP/1.1\r\nHost: {self.pages.bind}\r\nOrigin: {self.pages.url}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Cookie: hive_session={self.cookie}\r\n\r\n".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.say({"after": after})
        return self

    def say(self, words: dict) -> None:
        data, mask = json.dumps(words).encode(), os.urandom(4)
        self.writer.write(bytes((0x81, 0x80 | len(data))) + mask + bytes(b ^ mask[n % 4] for n, b in enumerate(data)))

    async def frame(self) -> dict:
        """The next one that carries text; a ping is answered by reading on."""
        while True:
            first, length = await self.reader.readexactly(2)
            if length >= 126:
                size = 2 if length == 126 else 8
                length = int.from_bytes(await self.reader.readexactly(size), "big")
            data = await self.reader.readexactly(length)
            assert first & 0x0F != 8, f"closed: {struct.unpack('!H', data[:2])}"
            if first & 0x0F == 1:
                return json.loads(data)

    async def watch(self, last: int) -> None:
        """Read and say so, until that event has come."""
        while not self.ids or self.ids[-1] < last:
            frame = await self.frame()
            self.frames += 1
            self.ids += [int(id_) for id_ in re.findall(r'id="event-(\d+)"', frame.get("rows", ""))]
            self.say({"ack": frame["n"]})

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
def pages(tmp_path):
    running = Pages(tmp_path)
    try:
        running("mailbox", name="operator")
        running("agent", name="scout")
        yield running
    finally:
        running.kill()


async def opened(pages: Pages, count: int, after: int = 0) -> list[Viewer]:
    cookie = pages("session")
    return [await Viewer(pages, cookie).open(after) for _ in range(count)]


async def written(pages: Pages, count: int, size: int) -> int:
    return await asyncio.to_thread(pages, "lines", agent="scout", count=count, size=size)


async def test_two_hundred_viewers_of_one_agent_get_every_event_in_order(pages):
    viewers = await opened(pages, VIEWERS)
    asleep = (await opened(pages, 1))[0]
    written_ids = 0
    for _ in range(8):
        written_ids = await written(pages, 25, 200)
    await asyncio.gather(*(viewer.watch(written_ids) for viewer in viewers))
    assert [viewer.ids for viewer in viewers] == [list(range(1, 201))] * VIEWERS
    # It wakes, and has lost nothing either.
    await asleep.watch(written_ids)
    assert asleep.ids == list(range(1, 201))
    for viewer in [*viewers, asleep]:
        viewer.close()


async def test_a_viewer_that_stops_reading_costs_the_server_next_to_nothing(pages):
    # So much is sent to who reads, at ten frames a second: tests/bench/bench_viewers.py sends more, to more.
    growth, asleep = await slept(pages, viewers=2, rounds=5)
    assert growth < 5 * 300 * SIZE / 2
    # What waits for it on the way is a window of frames, not what was written since.
    for _ in range(WINDOW):
        await asleep.frame()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asleep.frame(), 1)
    asleep.close()


async def slept(pages: Pages, viewers: int, rounds: int) -> tuple[int, Viewer]:
    """How many bytes the server grew by while some read all and one, opened for it, nothing."""
    awake = await opened(pages, viewers)
    server = psutil.Process(pages.process.pid)

    async def work(times: int) -> None:
        for _ in range(times):
            last = await written(pages, 300, SIZE)
            await asyncio.gather(*(viewer.watch(last) for viewer in awake))

    await work(2)
    [asleep] = await opened(pages, 1, after=awake[0].ids[-1])
    before = server.memory_info().rss
    await work(rounds)
    grown = server.memory_info().rss - before
    assert [viewer.ids for viewer in awake] == [list(range(1, (2 + rounds) * 300 + 1))] * viewers
    for viewer in awake:
        viewer.close()
    return grown, asleep
