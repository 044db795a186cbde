"""What a sender feels of the vacuum: half of a million messages removed while somebody sends all the time.

usage: python tests/bench/bench_vacuum.py [ROWS]
"""

import asyncio
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from broker import tasks
from broker.age import DAY, Age
from broker.models import Mailbox, Message
from broker.writer import writer

ROW = """
    INSERT INTO broker_message
        (cid, sender, recipient, body, chain, hop, state, attempt, reason, created_at, delivered_at, aged)
    VALUES (?, 'hm1nd', 'w' || ?, ?, '', 0, 'delivered', 1, '', '2026-01-01', '2026-01-01', ?)
"""
BODY = "x" * 500
# Seconds of sending without a vacuum, before and after it.
QUIET = 5.0


def fill(rows: int) -> None:
    """Every other one is past its retention."""
    connection.ensure_connection()
    with transaction.atomic():
        Age.objects.create(pk=1, seconds=90 * DAY, wall=time.time(), boot="", ran=0)
        marks = (0.0, 80 * DAY)
        connection.connection.executemany(ROW, ((f"old-{n}", n % 50, BODY, marks[n % 2]) for n in range(rows)))


class Felt:
    """Milliseconds: of each send until it was on disk, and by how much the loop woke too late."""

    def __init__(self) -> None:
        self.sends: list[float] = []
        self.late: list[float] = []

    async def send(self, until: asyncio.Event) -> None:
        while not until.is_set():
            begun = time.perf_counter()
            await writer.write(partial(Message.post, "hm1nd", "open", BODY), whole=True)
            self.sends.append((time.perf_counter() - begun) * 1e3)
            await asyncio.sleep(0.001)
            if len(self.sends) % 500 == 0:
                await writer.write(Message.objects.filter(recipient="open").delete)

    async def look(self, until: asyncio.Event) -> None:
        while not until.is_set():
            begun = time.perf_counter()
            await asyncio.sleep(0.002)
            self.late.append((time.perf_counter() - begun - 0.002) * 1e3)

    def said(self, what: str) -> None:
        sends, late = shares(self.sends), shares(self.late)
        print(
            f"{what:8} {len(self.sends):>6} sends: p50 {sends[0]:.2f} p99 {sends[1]:.2f} max {sends[2]:.1f} ms; ",
            end="",
        )
        print(f"event loop late: p50 {late[0]:.2f} p99 {late[1]:.2f} max {late[2]:.1f} ms")


def shares(found: list[float]) -> tuple[float, float, float]:
    return statistics.median(found), statistics.quantiles(found, n=100)[98], max(found)


async def felt(job: asyncio.Future) -> Felt:
    felt, until = Felt(), asyncio.Event()
    running = [asyncio.ensure_future(felt.send(until)), asyncio.ensure_future(felt.look(until))]
    await job
    until.set()
    await asyncio.gather(*running)
    return felt


async def main(rows: int) -> None:
    writer.start()
    before = await felt(asyncio.ensure_future(asyncio.sleep(QUIET)))
    begun = time.monotonic()
    vacuum = asyncio.ensure_future(asyncio.to_thread(tasks.vacuum_now))
    meanwhile = await felt(vacuum)
    took = time.monotonic() - begun
    after = await felt(asyncio.ensure_future(asyncio.sleep(QUIET)))
    print(f"{vacuum.result()} of {rows} messages removed in {took:.1f} s")
    before.said("before")
    meanwhile.said("meanwhile")
    after.said("after")
    quiet = [*before.sends, *after.sends]
    ratios = (now / then for now, then in zip(shares(meanwhile.sends), shares(quiet), strict=True))
    print("meanwhile / without: p50 {:.2f}, p99 {:.2f}, max {:.2f} (target: no send longer than 20 ms)".format(*ratios))
    writer.stop()


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    Mailbox.objects.create(name="open")
    print("filling …", flush=True)
    fill(int((sys.argv + ["1000000"])[1]))
    asyncio.run(main(Message.objects.count()))
