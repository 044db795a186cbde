"""Two hundred agents that only wait cost the daemon under two percent of one core."""

import psutil
import pytest

from tests.bench.bench_waiting import measure

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(600)]

AGENTS, SECONDS = 200, 20.0
# MiB: what a waiting agent's processes take, measured 60 with what it shares.
EACH = 60


def test_two_hundred_waiting_agents_are_cheap() -> None:
    if psutil.virtual_memory().available < AGENTS * EACH * 2**20:
        pytest.skip(f"{AGENTS} agents need {AGENTS * EACH // 1024} GiB of free memory")
    cost = measure(AGENTS, SECONDS)
    assert cost.share < 0.02, cost
