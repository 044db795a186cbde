"""`ok` to a send comes after its fsync: the system calls of a host, in the order in which it makes them."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from broker.wire import Client
from tests.hives import PROJECT, until

HOST = PROJECT / "tests/bench/mailbox_host.py"
TRACE = ["strace", "-f", "-qq", "-y", "-s", "5000", "-e", "trace=pwrite64,fdatasync,fsync,sendto,write", "-o"]
SENDERS, EACH = 4, 15
MARK, SYNC = re.compile(r"mark-s\d-\d\d"), re.compile(r"\bfdatasync\b.*= 0$")


def test_every_ok_comes_after_the_sync_of_what_it_promises(tmp_path: Path) -> None:
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody trace a process")
    trace, names = tmp_path / "trace", [f"s{number}" for number in range(SENDERS)]
    command = [*TRACE, str(trace), sys.executable, str(HOST), str(tmp_path), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout
        assert host.stdout.readline() == b"ready\n"
        asyncio.run(all_send(tmp_path, names))
        host.stdin.close()  # type: ignore[union-attr]
        until(lambda: host.poll() is not None, "the host ends")
    assert oks(trace.read_text().splitlines()) == SENDERS * EACH


async def all_send(root: Path, names: list[str]) -> None:
    await asyncio.gather(*(send(Client(root / name), name) for name in names))


async def send(client: Client, name: str) -> None:
    for number in range(EACH):
        await client.call("send", to="s0", body=f"mark-{name}-{number:02}")
    await client.close()


def oks(lines: list[str]) -> int:
    """How many sends were answered; AssertionError at one whose row was not in the log, or not yet on disk, by then."""
    written, synced, told = set[str](), set[str](), set[str]()
    for line in lines:
        marks = set(MARK.findall(line))
        if "pwrite64(" in line and "-wal" in line:
            written |= marks
        elif SYNC.search(line):
            synced |= written
        elif "result" in line:
            assert marks <= synced, f"told before it was on disk: {marks - synced}"
            told |= marks
    return len(told)
