"""Random kill -9 of hosts, receivers, senders and commands under load: no acknowledged message is lost.

Most kills hit a light host (tests/crash/load.py: the daemon's state, writer, verbs and wire without pages and containers),
some the real `hive serve`, with its manager in a real container. HIVE_CRASH_KILLS is how many of the first kind.
"""

import asyncio
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.wire import ask
from tests.hives import PROJECT, Hive, until

from .mortals import Mortals

KILLS = int(os.environ.get("HIVE_CRASH_KILLS", "120"))
SEED = int(os.environ.get("HIVE_CRASH_SEED") or 0) or random.randrange(2**32)
# Of a hundred kills; and seconds between two of them.
WHOM = {"host": 50, "receive": 35, "send": 10, "command": 5}
PAUSE = (0.05, 0.5)
LEAST = 4000

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120 + 3 * KILLS)]


class Load:
    """A host, who sends, who receives: whatever dies is begun anew."""

    def __init__(self, mortals: Mortals, place: Path, senders: int, receivers: int):
        self.mortals, self.place, self.state = mortals, place, place / "s"
        self.state.mkdir()
        self.senders = [f"s{number}" for number in range(senders)]
        self.receivers = [f"r{number}" for number in range(receivers)]
        self.pids: dict[str, int] = {}
        self.killed: Counter[str] = Counter()
        self.commands: list[tuple[str, subprocess.Popen]] = []

    def begin(self, name: str) -> None:
        socket, ledger = str(self.state / "run" / f"{name}.sock"), str(self.place / name)
        if name == "host":
            order: dict[str, Any] = {"act": "host", "names": [*self.senders, *self.receivers]}
        elif name in self.senders:
            order = {"act": "send", "socket": socket, "ledger": ledger, "name": name, "to": self.receivers}
        else:
            order = {"act": "receive", "socket": socket, "ledger": ledger}
        self.pids[name] = self.mortals.begin(self.state, **order)

    def kill(self, whom: str) -> None:
        self.killed[whom] += 1
        if whom == "command":
            self.command()
        else:
            name = random.choice({"host": ["host"], "send": self.senders, "receive": self.receivers}[whom])
            self.mortals.kill(self.pids.pop(name))
            self.begin(name)

    def command(self) -> None:
        """The last one is killed wherever it is by now, and another is begun."""
        if self.commands:
            self.commands[-1][1].kill()
        env = os.environ | {"HIVE_STATE_DIR": str(self.state), "HIVE_RUNTIME_DIR": str(self.state / "run")}
        body = f"command-{len(self.commands)}"
        command = [sys.executable, "manage.py", "hive", "send", self.receivers[0], body, "-q"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.commands.append((body, subprocess.Popen(command, cwd=PROJECT, env=env, **pipes)))

    def rows(self, statement: str) -> list[tuple]:
        plain = sqlite3.connect(f"file:{self.state}/hive.sqlite3?mode=ro", uri=True, timeout=30)
        try:
            return plain.execute(statement).fetchall()
        finally:
            plain.close()

    def waiting(self) -> int:
        return self.rows("SELECT COUNT(*) FROM broker_message WHERE state IN ('queued', 'claimed')")[0][0]


def lines(ledger: Path) -> list[list[str]]:
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


@pytest.fixture
def load(mortals: Mortals, tmp_path: Path) -> Iterator[Load]:
    random.seed(SEED)
    load = Load(mortals, tmp_path, senders=8, receivers=8)
    yield load
    for pid in load.pids.values():
        mortals.kill(pid)
    for _, command in load.commands:
        command.kill()
        command.communicate()


def test_no_acknowledged_message_is_lost(load: Load, capsys: pytest.CaptureFixture) -> None:
    begun = time.monotonic()
    for name in ("host", *load.senders, *load.receivers):
        load.begin(name)
    until(lambda: (load.place / "r0").exists(), "messages arrive")
    whom = random.choices(list(WHOM), list(WHOM.values()), k=KILLS)
    for one in whom:
        time.sleep(random.uniform(*PAUSE))
        load.kill(one)
    until(lambda: acknowledged(load) >= LEAST, "enough was sent", 60)
    for name in load.senders:
        load.mortals.kill(load.pids.pop(name))
    printed = [(body, command) for body, command in load.commands if command.wait(30) == 0]
    until(lambda: load.waiting() == 0, "all of it is delivered", 60)
    said = judge(load.senders, load.receivers, load.place)
    assert load.rows("PRAGMA integrity_check") == [("ok",)]
    assert load.rows("SELECT COUNT(*) FROM broker_message WHERE state = 'dead'") == [(0,)]
    bodies = {body for (body,) in load.rows("SELECT body FROM broker_message WHERE sender = 'operator'")}
    assert {body for body, _ in printed} <= bodies
    with capsys.disabled():
        kills = ", ".join(f"{count} {whom}" for whom, count in load.killed.most_common())
        took = time.monotonic() - begun
        print(f"\n{sum(load.killed.values())} kills ({kills}), seed {SEED}: {said}; {took:.0f} s", end=" ")


def test_twenty_backups_under_load_are_each_of_one_moment(load: Load, capsys: pytest.CaptureFixture) -> None:
    for name in ("host", *load.senders, *load.receivers):
        load.begin(name)
    until(lambda: (load.place / "r0").exists(), "messages arrive")
    sizes, socket = [], load.state / "run/operator.sock"
    for number in range(20):
        before = {cid for name in load.senders for *_, cid in lines(load.place / name)}
        copy = asyncio.run(ask(socket, "backup", patience=10))["path"]
        other = load.place / f"restored-{number}"
        other.mkdir()
        found = load.mortals.does(other, "restored", path=copy)
        assert before <= set(found["cids"]), "what was acknowledged before is in it"
        assert found["claimed"] == found["leases"], "what one transaction changed is both there or not"
        for name in load.senders:
            mine = [cid for cid in found["cids"] if cid.startswith(f"{name}-")]
            assert mine == [f"{name}-{number:06}" for number in range(len(mine))]
        sizes.append(len(found["cids"]))
    assert sizes == sorted(set(sizes)), "it went on meanwhile"
    with capsys.disabled():
        print(f"\n20 backups of {sizes[0]} to {sizes[-1]} messages restored, each consistent", end=" ")


def acknowledged(load: Load) -> int:
    return sum(len(lines(load.place / name)) for name in load.senders)


def judge(senders: list[str], receivers: list[str], place: Path) -> str:
    """What was acknowledged was done, in its order, and what was done again was a later attempt."""
    sent = {cid: recipient for name in senders for _, recipient, cid in lines(place / name)}
    done: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in receivers:
        first: dict[str, list[str]] = defaultdict(list)
        for _, attempt, cid in lines(place / name):
            if cid not in done and cid in sent:
                first[cid.rpartition("-")[0]].append(cid)
            done[cid].append((int(attempt), name))
        assert all(cids == sorted(cids) for cids in first.values()), "each sender's in its order"
    lost = [cid for cid in sent if cid not in done]
    assert not lost, f"{len(lost)} of {len(sent)} acknowledged messages are lost: {lost[:5]}"
    assert all(name == sent[cid] for cid in sent for _, name in done[cid]), "only its recipient gets it"
    again = [times for times in done.values() if len(times) > 1]
    for times in again:
        assert all(earlier < later for (earlier, _), (later, _) in itertools.pairwise(times)), times
    share = len(again) / len(sent)
    assert share <= 0.05
    return f"{len(sent)} acknowledged, 0 lost, {len(again)} done again ({share:.1%}), each as a later attempt"


def test_of_the_real_daemon(
    hive: Callable[..., Hive], mortals: Mortals, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The operator's mailbox, over host.sock; its manager lives on in its container all the time."""
    random.seed(SEED)
    here = hive()
    here.idle("hm1nd")
    socket, kills = str(here.runtime / "host.sock"), max(4, KILLS // 25)
    orders: dict[str, dict[str, Any]] = {
        "s0": {"act": "send", "name": "s0", "to": ["operator"], "ledger": str(tmp_path / "s0")},
        "r0": {"act": "receive", "operator": True, "ledger": str(tmp_path / "r0")},
    }
    pids = {name: mortals.begin(tmp_path, socket=socket, **order) for name, order in orders.items()}
    inner = here.agent("hm1nd")["pid"]
    for _ in range(kills):
        seen = len(lines(tmp_path / "r0"))
        until(lambda seen=seen: len(lines(tmp_path / "r0")) > seen + 50, "messages go through")  # type: ignore[misc]
        time.sleep(random.uniform(0, 0.5))
        here.stop(signal.SIGKILL)
        here.start()
    assert here.agent("hm1nd")["pid"] == inner
    mortals.kill(pids.pop("s0"))
    until(lambda: not {cid for *_, cid in lines(tmp_path / "s0")} - {cid for *_, cid in lines(tmp_path / "r0")}, "all")
    mortals.kill(pids.pop("r0"))
    sent = [[name, "r0", cid] for name, _, cid in lines(tmp_path / "s0")]
    (tmp_path / "s0").write_text("".join(f"{' '.join(line)}\n" for line in sent))
    with capsys.disabled():
        print(f"\n{kills} kills of hive serve: {judge(['s0'], ['r0'], tmp_path)}", end=" ")
