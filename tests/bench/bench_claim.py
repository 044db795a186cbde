"""What a claim and its ack cost at ten thousand to a million messages (ten million by argument), all but a few delivered.

usage: python tests/bench/bench_claim.py [ROWS …]
"""

import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from broker.models import Mailbox, Message

ROUNDS, RUNS = 200, 5
ROW = """
    INSERT INTO broker_message (cid, sender, recipient, body, chain, hop, state, attempt, reason, created_at, delivered_at)
    VALUES (?, 'hm1nd', 'w' || ?, 'x', '', 0, 'delivered', 1, '', '2026-01-01', '2026-01-01')
"""


def fill(rows: int) -> None:
    have = Message.objects.count()
    connection.ensure_connection()
    with transaction.atomic():
        connection.connection.executemany(ROW, ((f"old-{n}", n % 50) for n in range(have, rows)))


def claim_and_ack() -> float:
    """Microseconds of one claim and one ack, median over ROUNDS."""
    for number in range(ROUNDS):
        Message.send("hm1nd", f"w{number % 50}", "x")
    took = []
    for number in range(ROUNDS):
        begun = time.perf_counter()
        with transaction.atomic():
            [message] = Message.claim(f"w{number % 50}", f"turn-{number}", "key", 60)
            Message.ack(message.recipient, f"turn-{number}")
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def main(sizes: list[int]) -> None:
    call_command("migrate", verbosity=0)
    for number in range(50):
        Mailbox.objects.create(name=f"w{number}")
    measured = {}
    for rows in sizes:
        fill(rows)
        measured[rows] = statistics.median(claim_and_ack() for _ in range(RUNS))
        print(f"{rows:>9} rows: claim and ack {measured[rows]:.0f} µs (median of {RUNS} runs)")
    print(f"largest / smallest: {max(measured.values()) / min(measured.values()):.2f}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
