"""200 viewers of one agent read 17 MiB of events each, one more reads nothing: how much the server's memory grows by it.

usage: python tests/bench/bench_viewers.py [VIEWERS] [ROUNDS]
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "hyperhive.settings"

import django  # noqa: E402

django.setup()

from tests.dashboard.test_viewers import SIZE, slept  # noqa: E402
from tests.e2e.pages import Pages  # noqa: E402


def main(viewers: int = 200, rounds: int = 15) -> None:
    with tempfile.TemporaryDirectory(prefix="hive-bench-") as state:
        pages = Pages(Path(state))
        try:
            pages("mailbox", name="operator")
            pages("agent", name="scout")
            begun = time.perf_counter()
            grown, asleep = asyncio.run(slept(pages, viewers, rounds))
            sent = rounds * 300 * SIZE
            print(
                f"{viewers} viewers, {(2 + rounds) * 300} events each in order, in {time.perf_counter() - begun:.0f} s;"
                f" {sent >> 20} MiB for one that read nothing: the server grew by {grown / 2**20:.1f} MiB"
            )
            assert grown < 16 * 2**20
        finally:
            pages.kill()


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
