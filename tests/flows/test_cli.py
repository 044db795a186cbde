"""The command line against a real hive that goes away and comes back in the middle."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from hyperhive.demo.rules import Rule
from tests.hives import PROJECT, Hive, until

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(180)]


class Follower:
    """`hive VERB -f --json` as a process; `rows` are what it has printed."""

    def __init__(self, hive: Hive, *words: str):
        command = [sys.executable, "manage.py", "hive", *words, "--json"]
        self.process = subprocess.Popen(command, cwd=PROJECT, env=hive.env, stdout=subprocess.PIPE, text=True)
        self.rows: list[dict] = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.rows.append(json.loads(line))

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.thread.join()
        assert self.process.stdout
        self.process.stdout.close()


def test_a_follower_loses_and_doubles_nothing_over_a_restart(hive: Callable[..., Hive]) -> None:
    host = hive(Rule(user=".", reply="Done."))
    host.idle("hm1nd")
    host.ask("pause", name="hm1nd")
    follower = Follower(host, "messages", "-f")
    try:
        sent = [host.ask("send", to="hm1nd", body=f"{number}")["id"] for number in range(5)]
        until(lambda: len(follower.rows) >= 5, "the first five")
        host.stop()
        host.start()
        sent += [host.ask("send", to="hm1nd", body=f"{number}")["id"] for number in range(5, 10)]
        until(lambda: len(follower.rows) >= 10, "the other five, after the restart")
        assert [row["id"] for row in follower.rows] == sent
        assert {row["schema"] for row in follower.rows} == {1}
    finally:
        follower.end()
    exported = host.cli("export", "messages").stdout.splitlines()
    assert [json.loads(line)["id"] for line in exported] == sent
    top = host.cli("top", "--once").stdout
    assert "10 messages wait" in top


def test_what_is_exported_is_what_there_is(hive: Callable[..., Hive]) -> None:
    host = hive(Rule(user=".", reply="Done."))
    host.idle("hm1nd")
    host.ask("send", to="hm1nd", body="Say one word.")
    until(lambda: any(turn["outcome"] for turn in host.ask("turns", name="hm1nd")["turns"]), "a turn has ended")
    for kind in ("events", "turns"):
        rows = [json.loads(line) for line in host.cli("export", kind).stdout.splitlines()]
        known = host.ask(kind, name="hm1nd", limit=1000)[kind]
        assert [row["id"] for row in rows][: len(known)] == [row["id"] for row in known][: len(rows)]
    assert "## hm1nd, turn 1" in host.cli("export", "turns", "--agent", "hm1nd", "--format", "md").stdout
