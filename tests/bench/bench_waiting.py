"""What agents that only wait cost the daemon: real containers, real harnesses, nothing to do.

usage: python tests/bench/bench_waiting.py [AGENTS [SECONDS]]
"""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.hives import Hive, until


class Cost(NamedTuple):
    agents: int
    start: float  # seconds until all of them waited
    share: float  # of one core, that the daemon took while they waited
    resident: float  # MiB of the daemon
    empty_share: float  # the same daemon's share with the manager alone


def measure(agents: int, seconds: float) -> Cost:
    hive = Hive()
    try:
        hive.start()
        until(lambda: waiting(hive) == 1, f"hm1nd waits: {hive.log()[-2000:]}")
        daemon = psutil.Process(hive.daemon.pid)  # type: ignore[union-attr]
        empty = share(daemon, seconds)
        begun = time.monotonic()
        for number in range(agents):
            hive.ask("spawn", name=f"w{number}")
        until(lambda: waiting(hive) == agents + 1, f"{agents} agents wait: {hive.log()[-2000:]}", 3 * agents + 60)
        start = time.monotonic() - begun
        time.sleep(5)
        return Cost(agents, start, share(daemon, seconds), daemon.memory_info().rss / 2**20, empty)
    finally:
        hive.close()


def share(process: psutil.Process, seconds: float) -> float:
    before = sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / seconds


def waiting(hive: Hive) -> int:
    """Nobody is logged in here, which an agent finds out while it waits already."""
    time.sleep(1)
    return sum(row["state"] in ("idle", "login") for row in hive.ask("list")["agents"])


if __name__ == "__main__":
    cost = measure(int((sys.argv + ["200"])[1]), float((sys.argv + ["", "30"])[2]))
    print(f"{cost.agents} waiting agents, started in {cost.start:.0f} s; daemon {cost.resident:.0f} MiB")
    print(f"daemon: {cost.share:.2%} of one core; with the manager alone {cost.empty_share:.2%}; ", end="")
    print(f"ratio {cost.share / max(cost.empty_share, 1e-4):.1f}")
