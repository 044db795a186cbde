"""Twenty scripted agents that write to each other over the real daemon's sockets: does it grow?

usage: python tests/bench/soak.py [MINUTES]
"""

import asyncio
import os
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.bench_swarm import started
from tests.bench.peers.hive import Lines
from tests.hives import Hive

AGENTS, EVERY, PAUSE = 20, 10.0, 0.1
# Samples from one line about them to the next.
SAID = 6
# The share of the time that is warm-up: caches and pools fill.
WARM = 0.25


class Sample(NamedTuple):
    hours: float
    mib: float
    descriptors: int


async def agent(hive_run: Path, number: int, done: list[int]) -> None:
    """Answers whoever writes to it and writes to the next, in turns that it acks."""
    path = hive_run / "agents" / f"w{number}" / "mcp.sock"
    _, lines = await asyncio.get_running_loop().create_unix_connection(Lines, os.fspath(path))
    for count in range(1, 2**31):
        turn, at = str(uuid.uuid4()), "2026-01-01T00:00:00Z"
        await lines.ask("send", to=f"w{(number + 1) % AGENTS}", body="x" * 500)
        if (await lines.ask("recv", turn=turn, wait=20))["result"]["messages"]:
            row = {"id": turn, "number": count, "started_at": at, "ended_at": at, "outcome": "ok"}
            await lines.ask("ack", turn=row)
            done[0] += 1
        await asyncio.sleep(PAUSE)


async def soaked(hive: Hive, minutes: float) -> tuple[list[Sample], int]:
    assert hive.daemon
    daemon, begun, samples, done = psutil.Process(hive.daemon.pid), time.monotonic(), [], [0]
    talking = [asyncio.create_task(agent(hive.runtime, number, done)) for number in range(AGENTS)]
    while (hours := (time.monotonic() - begun) / 3600) < minutes / 60:
        await asyncio.sleep(EVERY)
        assert hive.daemon.poll() is None, f"the daemon has ended: {hive.daemon.returncode}\n{hive.log()[-3000:]}"
        samples.append(Sample(hours, daemon.memory_info().rss / 2**20, daemon.num_fds()))
        if len(samples) % SAID == 0:
            newest = samples[-1]
            said = f"{newest.mib:.1f} MiB, {newest.descriptors} open files, {done[0]} acked"
            print(f"  {hours * 60:.0f} minutes: {said}", flush=True)
        for task in talking:
            if task.done():
                task.result()
    for task in talking:
        task.cancel()
    await asyncio.gather(*talking, return_exceptions=True)
    return samples, done[0]


def slope(samples: list[Sample]) -> float:
    """MiB an hour, by least squares."""
    x = sum(sample.hours for sample in samples) / len(samples)
    y = sum(sample.mib for sample in samples) / len(samples)
    across = sum((sample.hours - x) ** 2 for sample in samples)
    return sum((sample.hours - x) * (sample.mib - y) for sample in samples) / across


def main(minutes: float) -> None:
    hive = started(AGENTS)
    try:
        samples, done = asyncio.run(soaked(hive, minutes))
    finally:
        if hive.daemon and hive.daemon.poll() is None:
            hive.stop()
        hive.discard()
    warm = samples[int(len(samples) * WARM) :]
    print(f"{minutes:g} minutes, {AGENTS} agents, {done} messages acked; daemon {warm[-1].mib:.0f} MiB")
    print(f"after warm-up: {slope(warm):+.2f} MiB an hour (target: under 1)")
    print(f"open files: {min(s.descriptors for s in warm)} to {max(s.descriptors for s in warm)} (target: flat)")


if __name__ == "__main__":
    main(float((sys.argv + ["30"])[1]))
