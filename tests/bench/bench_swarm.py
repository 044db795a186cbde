"""A swarm that mostly waits: the real daemon with a socket for each agent, all of them in a long poll, a few hundred talking.

Rows and sockets are made for the bench; there are no containers.
usage: python tests/bench/bench_swarm.py [WAITING …]
"""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.peers.hive import Lines
from tests.hives import PROJECT, Hive, until

TALKING, ROUNDS = 200, 5
# Seconds. An agent asks again when its poll ends: so long is idle, that each has done so once.
POLL = IDLE = 60.0
# The longest that a stage may take: to start, a second for each hundred agents besides; and for one wake-up.
START, TALK, WAKE = 60.0, 120.0, 20.0
# What one agent takes of the daemon's open files, two sockets that it could connect to and one on which it waits; and what
# the daemon has open besides.
EACH, OWN = 3, 500
# Agents of the swarm that the others are compared with.
FEW = 20
ROWS = """
from agents.models import Agent
from broker.models import Mailbox
from lifecycle.models import Container
names = [f"w{{n}}" for n in range({count})]
Container.objects.bulk_create(
    Container(name=name, driver="process", uid=1_800_000_000 + n, desired="stopped", status="stopped")
    for n, name in enumerate(names)
)
Mailbox.objects.bulk_create(Mailbox(name=name) for name in names)
Agent.objects.bulk_create(Agent(name=name) for name in names)
"""


def room() -> tuple[int, int]:
    """The hard limit on open files, and how many agents it leaves room for: in the daemon, which needs more than we."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most, (most - OWN) // EACH


@contextlib.contextmanager
def stage(what: str) -> Iterator[None]:
    """Says what is being done before it, and after it how long that took."""
    begun = time.monotonic()
    print(f"  {what} … ", end="", flush=True)
    yield
    print(f"{time.monotonic() - begun:.1f} s", flush=True)


def started(count: int) -> Hive:
    hive = Hive(driver="process", HIVE_MANAGER_PORT="")
    hive.start()
    hive.ask("stop", name="hm1nd")
    hive.stop()
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", ROWS.format(count=count)]
    env = hive.env | {"DJANGO_SETTINGS_MODULE": "hyperhive.settings"}
    subprocess.run(command, cwd=PROJECT, env=env, check=True, timeout=START)
    hive.serve()
    doors = lambda: len(list(hive.runtime.glob("agents/*/egress.sock"))) >= count  # noqa: E731
    until(doors, f"there is a socket for each: {hive.log()}", START + count / 100)
    until(hive.answers, "the daemon answers", START)
    return hive


class Waiting:
    """One agent in its long poll, asked again and again as a harness does."""

    def __init__(self, lines: Lines):
        self.lines, self.woken = lines, asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.wait())

    async def wait(self) -> None:
        while True:
            turn = str(uuid.uuid4())
            reply = await self.lines.ask("recv", turn=turn, wait=POLL)
            if reply["result"]["messages"]:
                self.woken.set_result(time.perf_counter())
                at = "2026-01-01T00:00:00Z"
                done = {
                    "id": turn,
                    "number": int(time.time() * 1000) % 2**31,
                    "started_at": at,
                    "ended_at": at,
                    "outcome": "ok",
                }
                await self.lines.ask("ack", turn=done)


class Seen(NamedTuple):
    agents: int
    resident: int  # bytes of the daemon, all of them waiting
    descriptors: int
    idle: float  # share of one core
    wakes: list[float]  # milliseconds, sorted

    def said(self, few: "Seen") -> str:
        each = (self.resident - few.resident) / (self.agents - few.agents) / 1024
        p50, p99 = (self.wakes[int(len(self.wakes) * share)] for share in (0.5, 0.99))
        return (
            f"{self.agents} waiting agents: daemon {self.resident / 2**20:.0f} MiB, {each:.1f} KB each (target: at most 8); "
            f"{self.descriptors} open files, {(self.descriptors - few.descriptors) / (self.agents - few.agents):.1f} each; "
            f"idle {self.idle:.2%} of one core (target: under 2); "
            f"{min(TALKING, self.agents - 1)} talking: wake p50 {p50:.1f} ms, p99 {p99:.1f} ms (target: under 20)"
        )


async def drive(hive: Hive, count: int, quiet: float) -> Seen:
    daemon = psutil.Process(hive.daemon.pid)  # type: ignore[union-attr]
    with stage(f"{count} connect"):
        async with asyncio.timeout(START + count / 100):
            agents = [await waiting(hive, number) for number in range(count)]
        await asyncio.sleep(1)
    with stage("nobody says anything"):
        before = sum(daemon.cpu_times()[:2])
        await asyncio.sleep(quiet)
        idle = (sum(daemon.cpu_times()[:2]) - before) / quiet
        resident, descriptors = daemon.memory_info().rss, daemon.num_fds()
    with stage(f"{TALKING} talk"):
        async with asyncio.timeout(TALK):
            wakes = [ms for _ in range(ROUNDS) for ms in await talk(agents)]
    for agent in agents:
        agent.task.cancel()
        agent.lines.transport.close()
    return Seen(count, resident, descriptors, idle, sorted(wakes))


async def waiting(hive: Hive, number: int) -> Waiting:
    path = hive.runtime / "agents" / f"w{number}" / "mcp.sock"
    _, lines = await asyncio.get_running_loop().create_unix_connection(Lines, os.fspath(path))
    return Waiting(lines)


async def talk(agents: list[Waiting]) -> list[float]:
    """Milliseconds from send to wake-up: one after another, each to the next agent."""
    took = []
    step = max(1, len(agents) // TALKING)
    for number in range(0, min(len(agents) - 1, TALKING * step), step):
        sender, receiver = agents[number], agents[number + 1]
        receiver.woken = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        async with asyncio.timeout(WAKE):
            reply = await sender.lines.ask("send", to=f"w{number + 1}", body="x" * 500)
            assert "result" in reply, reply
            took.append((await receiver.woken - begun) * 1000)
    return took


def swarm(count: int, quiet: float = IDLE) -> Seen:
    with stage(f"a daemon for {count} agents"):
        hive = started(count)
    try:
        return asyncio.run(drive(hive, count, quiet))
    finally:
        hive.stop()
        hive.discard()


def main(sizes: list[int]) -> None:
    limit, fits = room()
    few = swarm(FEW, quiet=5)
    for size in sizes:
        if size > fits:
            print(
                f"{size} agents need {size * EACH + OWN} open files, `ulimit -Hn` is {limit} here: measured with {fits}."
            )
        print(swarm(min(size, fits)).said(few), flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1000, 10_000])
