"""A swarm that mostly waits: the real daemon with a socket for each agent, all of them in a long poll, a few hundred talking.

Rows and sockets are made for the bench; there are no containers.
usage: python tests/bench/bench_swarm.py [WAITING …]
"""

import asyncio
import os
import resource
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.peers.hive import Lines
from tests.hives import PROJECT, Hive, until

TALKING, ROUNDS = 200, 5
IDLE = 20.0
# What one agent takes of the daemon's open files; what the daemon has open besides.
EACH, OWN = 3, 500
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


def room() -> int:
    """How many agents the limit on open files leaves room for, the daemon's and ours."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return (most - OWN) // EACH


def started(count: int) -> Hive:
    hive = Hive(driver="process", HIVE_MANAGER_PORT="")
    hive.start()
    hive.ask("stop", name="hm1nd")
    hive.stop()
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", ROWS.format(count=count)]
    subprocess.run(command, cwd=PROJECT, env=hive.env | {"DJANGO_SETTINGS_MODULE": "hyperhive.settings"}, check=True)
    hive.serve()
    doors = lambda: len(list(hive.runtime.glob("agents/*/egress.sock"))) >= count  # noqa: E731
    until(doors, f"there is a socket for each: {hive.log()}", 300)
    until(hive.answers, "the daemon answers", 60)
    return hive


class Waiting:
    """One agent in its long poll, asked again and again as a harness does."""

    def __init__(self, lines: Lines):
        self.lines, self.woken = lines, asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.wait())

    async def wait(self) -> None:
        while True:
            turn = str(uuid.uuid4())
            reply = await self.lines.ask("recv", turn=turn, wait=60)
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


async def drive(hive: Hive, count: int) -> None:
    loop, daemon = asyncio.get_running_loop(), psutil.Process(hive.daemon.pid)  # type: ignore[union-attr]
    agents = []
    for number in range(count):
        path = hive.runtime / "agents" / f"w{number}" / "mcp.sock"
        _, lines = await loop.create_unix_connection(Lines, os.fspath(path))
        agents.append(Waiting(lines))
    await asyncio.sleep(5)
    resident, descriptors = daemon.memory_info().rss, daemon.num_fds()
    before = sum(daemon.cpu_times()[:2])
    await asyncio.sleep(IDLE)
    idle = (sum(daemon.cpu_times()[:2]) - before) / IDLE
    took = [ms for _ in range(ROUNDS) for ms in await talk(agents)]
    took.sort()
    print(
        f"{count} waiting agents: daemon {resident / 2**20:.0f} MiB, {descriptors} open files, idle {idle:.2%} of one core; "
        f"{TALKING} talking: wake p50 {took[len(took) // 2]:.1f} ms, p99 {took[int(len(took) * 0.99)]:.1f} ms"
    )
    for agent in agents:
        agent.task.cancel()
        agent.lines.transport.close()


async def talk(agents: list[Waiting]) -> list[float]:
    """Milliseconds from send to wake-up: one after another, each to the next agent."""
    took = []
    step = max(1, len(agents) // TALKING)
    for number in range(0, min(len(agents) - 1, TALKING * step), step):
        sender, receiver = agents[number], agents[number + 1]
        receiver.woken = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        reply = await sender.lines.ask("send", to=f"w{number + 1}", body="x" * 500)
        assert "result" in reply, reply
        took.append((await receiver.woken - begun) * 1000)
    return took


def resident(count: int) -> int:
    hive = started(count)
    try:
        rss = psutil.Process(hive.daemon.pid).memory_info().rss  # type: ignore[union-attr]
        if count > 1:
            asyncio.run(drive(hive, count))
            rss = psutil.Process(hive.daemon.pid).memory_info().rss  # type: ignore[union-attr]
        return rss
    finally:
        hive.stop()
        hive.discard()


def main(sizes: list[int]) -> None:
    fits, empty = room(), resident(1)
    for size in sizes:
        if size > fits:
            print(f"{size} agents need more open files than `ulimit -Hn` allows here: measured with {fits}.")
        count = min(size, fits)
        print(f"{count} waiting agents: {(resident(count) - empty) / count / 1024:.1f} KB of the daemon each")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1000, 10_000])
