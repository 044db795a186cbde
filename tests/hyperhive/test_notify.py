import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperhive.notify import heartbeat, notify
from tests.hives import Hive


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(30)
        yield door


def test_words_reach_systemd_in_one_datagram(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    notify("READY=1", "STATUS=Pages on 127.0.0.1:7000.")
    assert systemd.recv(4096) == b"READY=1\nSTATUS=Pages on 127.0.0.1:7000."


def test_an_abstract_socket_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = uuid.uuid4().hex
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("STOPPING=1")
        assert door.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("place", ["", "/nowhere/notify", "/dev/null"])
def test_nobody_who_listens_is_no_error(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("60000000", "", 30.0),
        ("60000000", str(os.getpid()), 30.0),
        ("60000000", "1", None),
        ("0", "", None),
        ("", "", None),
        ("soon", "", None),
    ],
)
def test_a_sign_of_life_comes_twice_in_the_time_that_systemd_waits(
    usec: str, pid: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert heartbeat() == seconds


def test_a_hive_says_when_it_is_ready_that_it_lives_and_when_it_stops(systemd: socket.socket) -> None:
    hive = Hive("", "process", NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="200000")
    try:
        hive.start()
        first = systemd.recv(4096).decode()
        assert first.startswith("READY=1\nSTATUS=Pages on 127.0.0.1:")
        assert [systemd.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    finally:
        hive.close()
    while (last := systemd.recv(4096)) == b"WATCHDOG=1":
        pass
    assert last == b"STOPPING=1"
