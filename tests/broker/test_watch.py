"""Sockets that wait by the thousand: how many are seen to at once, and what happens when there is no room for more."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import watch


class Guests:
    """Who was welcomed, each with the number of the look in which it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.socks: list[socket.socket] = []
        self.looks, self.at = 0, []
        look = watch.Watch.look

        def counted(one: watch.Watch) -> None:
            self.looks += 1
            look(one)

        monkeypatch.setattr(watch.Watch, "look", counted)

    def welcome(self, sock: socket.socket) -> None:
        self.socks.append(sock)
        self.at.append(self.looks)

    async def come(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.socks) < count:  # noqa: ASYNC110 (what is tested has no task that could set an event)
                await asyncio.sleep(0.001)


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guests]:
    some = Guests(monkeypatch)
    monkeypatch.setattr(watch, "_watch", None)
    yield some
    for sock in some.socks:
        sock.close()


@contextlib.contextmanager
def knocking(*paths: Path) -> Iterator[list[socket.socket]]:
    """A connection to each, whether it is accepted or not."""
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(socket.socket(socket.AF_UNIX)) for _ in paths]
        for sock, path in zip(socks, paths, strict=True):
            sock.connect(str(path))
        yield socks


async def test_a_flood_at_one_socket_is_one_connection_in_each_turn_of_the_loop(tmp_path: Path, guests: Guests) -> None:
    listener = watch.listen(tmp_path / "s", None, 8, guests.welcome)
    with knocking(*[tmp_path / "s"] * 5):
        await guests.come(5)
    assert guests.at == sorted(set(guests.at))
    listener.close()


async def test_of_many_sockets_so_many_are_seen_to_in_one_turn(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN", 2)
    listeners = [watch.listen(tmp_path / str(number), None, 1, guests.welcome) for number in range(7)]
    with knocking(*(tmp_path / str(number) for number in range(7))):
        await guests.come(7)
    assert max(guests.at.count(look) for look in guests.at) == 2
    for listener in listeners:
        listener.close()


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))


async def test_without_a_descriptor_left_it_is_said_once_and_tried_again_later(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("hive"), "propagate", True)
    monkeypatch.setattr(watch, "AGAIN", 0.1)
    listener = watch.listen(tmp_path / "s", None, 8, guests.welcome)
    with knocking(tmp_path / "s"):
        with no_more_descriptors():
            await asyncio.sleep(0.35)
            assert not guests.socks
            assert guests.looks <= 5, "it is not asked all the time"
        await guests.come(1)
    [said] = {record.created: record for record in caplog.records}.values()
    assert said.getMessage() == "no more connections can be taken for now: Too many open files"
    listener.close()


async def test_closed_while_it_waits_for_room_it_is_not_begun_again(
    tmp_path: Path, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "AGAIN", 0.05)
    listener = watch.listen(tmp_path / "s", None, 8, guests.welcome)
    failed: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    with knocking(tmp_path / "s"):
        with no_more_descriptors():
            await asyncio.sleep(0.02)
        listener.close()
        await asyncio.sleep(0.1)
    assert not guests.socks
    assert not failed


async def test_closed_it_takes_no_more_and_leaves_who_is_there(tmp_path: Path, guests: Guests) -> None:
    listener = watch.listen(tmp_path / "s", None, 8, guests.welcome)
    with knocking(tmp_path / "s") as [there]:
        await guests.come(1)
        listener.close()
        listener.close()
        with pytest.raises(ConnectionRefusedError), knocking(tmp_path / "s"):
            pass
        guests.socks[0].send(b"still here")
        assert there.recv(100) == b"still here"
    assert (tmp_path / "s").is_socket()
    assert not watch.Watch.here()._of


async def test_what_was_read_before_comes_first_in_the_stream() -> None:
    ours, theirs = socket.socketpair()
    theirs.send(b" and two\n")
    reader, writer = await watch.streams(ours, 1000, b"one")
    assert await reader.readline() == b"one and two\n"
    writer.close()
    theirs.close()
