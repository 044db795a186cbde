"""Durable messages a second, the hive's mailboxes beside what people would use instead, at equal durability.

pairs: 50 senders to 50 receivers, 500 bytes, on disk before a send is answered; reply: 50 pairs that answer each other;
one pair: from a send to the receiver's wake-up, beside an echo and a commit of the same run.
usage: python tests/bench/bench_mailboxes.py [--seconds S] [--runs N] [--write FILE] [PEER …]
"""

import argparse
import asyncio
import contextlib
import os
import platform
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.peers import PEERS
from tests.bench.peers.nats import how
from tests.bench.peers.server import found

PAIRS, SIZE = 50, 500
# Seconds before each message of one pair.
PAUSE = 0.005
BODY = "x" * SIZE
# On a disk, which /tmp need not be.
WHERE = "/var/tmp"
# Seconds that one run may take in all, whatever its peer does: a hang is an error, not a wait.
PATIENCE = 60


# ---- the work ---------------------------------------------------------------------------------------------------------


async def pairs(system: Any, seconds: float) -> float:
    """Messages a second, received and acked, each sender's in its order."""
    received = 0
    senders = [await system.open(f"s{n}") for n in range(PAIRS)]
    receivers = [await system.open(f"r{n}") for n in range(PAIRS)]
    sent = [0] * PAIRS

    async def send(n: int) -> None:
        while time.monotonic() < until:
            await senders[n].send(f"r{n}", f"{sent[n]:08}{BODY[8:]}")
            sent[n] += 1
        await senders[n].send(f"r{n}", "end")

    async def receive(n: int) -> None:
        nonlocal received
        expected = 0
        while (body := await receivers[n].recv()) != "end":
            assert int(body[:8]) == expected, "out of order, lost or doubled"
            expected += 1
            received += 1

    begun = time.monotonic()
    until = begun + seconds
    await asyncio.gather(*map(send, range(PAIRS)), *map(receive, range(PAIRS)))
    assert received == sum(sent), "lost"
    return received / (time.monotonic() - begun)


async def reply(system: Any, seconds: float) -> float:
    """Messages a second of pairs that answer each other, one under way each."""
    count = 0
    pings = [await system.open(f"s{n}") for n in range(PAIRS)]
    pongs = [await system.open(f"r{n}") for n in range(PAIRS)]

    async def ping(n: int) -> None:
        nonlocal count
        box = pings[n]
        while time.monotonic() < until:
            await box.send(f"r{n}", BODY)
            await box.recv()
            count += 2
        await box.send(f"r{n}", "end")

    async def pong(n: int) -> None:
        box = pongs[n]
        while await box.recv() != "end":
            await box.send(f"s{n}", BODY)

    begun = time.monotonic()
    until = begun + seconds
    await asyncio.gather(*map(ping, range(PAIRS)), *map(pong, range(PAIRS)))
    return count / (time.monotonic() - begun)


async def one_pair(system: Any, messages: int) -> list[float]:
    """Milliseconds from a send to the receiver's wake-up, for each message, in order; nothing else goes on."""
    sender, receiver = await system.open("s0"), await system.open("r0")
    took = []
    for _ in range(messages):
        waking = asyncio.create_task(receiver.recv())
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        sending = asyncio.create_task(sender.send("r0", BODY))
        await waking
        took.append((time.perf_counter() - begun) * 1000)
        await sending
    return sorted(took)


# ---- what the machine can do at best ----------------------------------------------------------------------------------


def floor(pause: float, rounds: int = 200) -> float:
    """Milliseconds, median, of a round trip of 500 bytes to another process over a unix socket and a commit of one row.

    With a pause before each, as one pair has it: what has slept for 5 ms is slower than what is in full swing.
    """
    here, there = socket.socketpair(socket.AF_UNIX)
    answers = subprocess.Popen([sys.executable, "-c", ANSWERS, str(there.fileno())], pass_fds=[there.fileno()])
    there.close()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=WHERE) as root:
        db = sqlite3.connect(f"{root}/db", isolation_level=None)
        db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (body TEXT)")
        took = []
        for _ in range(rounds):
            time.sleep(pause)
            begun = time.perf_counter()
            here.sendall(BODY.encode())
            here.recv(SIZE)
            db.execute("INSERT INTO t VALUES (?)", (BODY,))
            took.append((time.perf_counter() - begun) * 1000)
        db.close()
    here.close()
    answers.wait(10)
    return statistics.median(took)


ANSWERS = """
import socket, sys
there = socket.socket(fileno=int(sys.argv[1]))
while data := there.recv(500):
    there.sendall(data)
"""


# ---- the runs ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(peer: str) -> Any:
    """A peer of its own for one run, empty."""
    root = Path(tempfile.mkdtemp(prefix="bench-", dir=WHERE))
    try:
        system = PEERS[peer].start(root, [f"{kind}{n}" for kind in "sr" for n in range(PAIRS)])
        try:
            yield system
        finally:
            system.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(peer: str, work: Callable[..., Any], much: float) -> Any:
    with started(peer) as system:
        return asyncio.run(asyncio.wait_for(work(system, much), PATIENCE))


def measured(peers: list[str], runs: int, seconds: float) -> dict[str, dict[str, float]]:
    """Work -> peer -> messages a second, the median; the peers take turns. Who fails once is left out, and it is said."""
    rates: dict[str, dict[str, list[float]]] = {name: {peer: [] for peer in peers} for name in WORKS}
    for number in range(runs):
        for name, work in WORKS.items():
            for peer in list(rates[name]):
                try:
                    rates[name][peer].append(rate := run(peer, work, seconds))
                except Exception as error:  # one peer that does not start must not cost the others their figures
                    if peer == "hive":
                        raise
                    say(f"{name}: {peer} is left out, a run of it failed: {type(error).__name__} {error}")
                    del rates[name][peer]
                else:
                    say(f"run {number + 1} of {runs}, {name}: {peer} {rate:.0f} msg/s")
    return {name: {peer: statistics.median(found) for peer, found in rows.items()} for name, rows in rates.items()}


WORKS: dict[str, Callable[..., Any]] = {"pairs": pairs, "reply": reply}


def latency(runs: int) -> list[str]:
    sorted_runs = [run("hive", one_pair, 200) for _ in range(runs)]
    p50 = statistics.median(took[len(took) // 2] for took in sorted_runs)
    p99 = statistics.median(took[int(len(took) * 0.99)] for took in sorted_runs)
    paced, tight = floor(PAUSE), floor(0)
    return [
        f"One pair, from a send to the receiver's wake-up, {PAUSE * 1000:g} ms after the one before: p50 {p50:.2f} ms, "
        f"p99 {p99:.2f} ms (target: under 20). An echo and a commit take {paced:.2f} ms at the same pace: ratio "
        f"{p50 / paced:.1f} (target: at most 3); without a pause they take {tight:.2f} ms: ratio {p50 / tight:.1f}."
    ]


# ---- the table --------------------------------------------------------------------------------------------------------


def machine() -> str:
    model = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model[0] if model else platform.machine()}), {memory:.0f} GiB, "
        f"Linux {platform.release().split('-')[0]}, {output('stat', '-f', '-c', '%T', WHERE)}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def versions(peers: list[str]) -> str:
    said = {peer: output(*PEERS[peer].version) for peer in peers if PEERS[peer].version}
    return ", ".join(f"{peer} {re.search(r'[0-9][0-9.]+', words)[0]}" for peer, words in said.items())  # type: ignore[index]


def output(*command: str) -> str:
    command = (found(command[0]) or command[0], *command[1:])
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()


def table(rates: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| | pairs, msg/s | hive is | target | reply, msg/s | hive is | target |", "|---|---|---|---|---|---|---|"]
    for name, peer in PEERS.items():
        cells = [f"{peer.label}, {how()}" if name == "nats" and found(peer.program) else peer.label]
        for at, work in enumerate(WORKS):
            rate = rates[work].get(name)
            times = f"{rates[work]['hive'] / rate:.2f}×" if rate and rates[work].get("hive") else "–"
            cells += [f"{rate:.0f}" if rate else "left out", times, f"{peer.target[at]:g}×" if peer.target else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", type=Path, help="the document whose table is written anew")
    parser.add_argument("peers", nargs="*", default=[name for name in PEERS if name != "hive"])
    o = parser.parse_args()
    for peer in [peer for peer in o.peers if PEERS[peer].program and not found(PEERS[peer].program)]:
        say(f"{peer} is left out: there is no {PEERS[peer].program} here (bin/setup bench installs it).")
        o.peers.remove(peer)
    runs = f"{o.runs} runs of {o.seconds:g} s, medians; each peer with its own fsync before it answers"
    lines = [
        f"{machine()}; {versions(o.peers)}. {runs}.",
        "",
        *table(measured(["hive", *o.peers], o.runs, o.seconds)),
        "",
        *latency(o.runs),
    ]
    say("\n".join(lines))
    if o.write:
        write(o.write, lines)


def write(path: Path, lines: list[str]) -> None:
    """Between the marks, so that the words around the table stay."""
    before, _, rest = path.read_text().partition("<!-- measured -->")
    path.write_text(
        "\n".join([f"{before}<!-- measured -->", *lines, "<!-- end -->"]) + rest.partition("<!-- end -->")[2]
    )


if __name__ == "__main__":
    main()
