"""An agent's life as the operator drives it from the command line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperhive.demo.rules import Rule, Use
from lifecycle import room
from lifecycle.drivers import DRIVERS
from tests.hives import Hive, until

pytestmark = [pytest.mark.claude, pytest.mark.bwrap, pytest.mark.timeout(180)]


def rules() -> list[Rule]:
    return [
        Rule(user="note", reply=Use("Bash", {"command": "echo kept > /state/note.txt; echo noted"})),
        Rule(used="Bash", result="noted", reply="Noted."),
        Rule(user="read", reply=Use("Bash", {"command": "cat /state/note.txt"})),
        Rule(used="Bash", result="kept", reply=Use("mcp__hive__send", {"to": "operator", "body": "it says kept"})),
        Rule(used="mcp__hive__send", reply="Done."),
    ]


def done(here: Hive, *words: str) -> str:
    finished = here.cli(*words)
    assert finished.returncode == 0, (words, finished.stdout, finished.stderr)
    return finished.stdout


def says(here: Hive, word: str, name: str = "scout") -> None:
    here.delivered(here.ask("send", to=name, body=word)["id"])


@pytest.mark.parametrize("driver", ["nspawn", "bwrap"])
def test_spawn_stop_start_restart_kill_destroy_spawn_purge(hive: Callable[..., Hive], driver: str) -> None:
    if missing := DRIVERS[driver].probe():
        pytest.skip(f"an agent's whole life in {driver}: {missing}")
    here = hive(*rules(), driver=driver, HIVE_AGENT_DISK_MAX="256M")
    here.idle("hm1nd")
    done(here, "spawn", "scout")
    bounded = os.path.ismount(here.state / "homes/scout")
    assert bounded != bool(room.probe())
    says(here, "note")
    note = here.state / "agents/scout/state/note.txt"
    assert note.read_text() == "kept\n"

    done(here, "stop", "scout")
    assert here.agent("scout")["state"] == "offline"
    sent = here.ask("send", to="scout", body="read")["id"]
    done(here, "start", "scout")
    here.delivered(sent)
    until(lambda: here.ask("messages", sender="scout")["messages"], "scout read its note after a stop and a start")

    before = here.agent("scout")["pid"]
    done(here, "restart", "scout")
    assert here.agent("scout")["pid"] not in (None, before)
    done(here, "kill", "scout")
    assert here.agent("scout")["pid"] is None

    done(here, "destroy", "scout", "--yes")
    assert note.read_text() == "kept\n", "destroy keeps what the agent had"
    assert here.cli("send", "scout", "hello").returncode != 0, "nobody would read it"
    done(here, "spawn", "scout")
    says(here, "read")

    printed = done(here, "destroy", "scout", "--purge", "--yes")
    for part in ("agents/scout", "homes/scout", "applied/scout", "run/scout"):
        assert part in printed, "a purge lists what it removed"
        assert not (here.state / part).exists()
    assert ("rooms/scout.img" in printed) == bounded
    assert not (here.state / "rooms/scout.img").exists()
    assert [row["name"] for row in here.json("list")["agents"]] == ["hm1nd"]
    done(here, "spawn", "scout")
    assert not note.exists(), "who is spawned after a purge finds nothing"


def test_a_name_outside_the_rule_is_refused(hive: Callable[..., Hive]) -> None:
    here = hive()
    for name in ("Scout", "9lives", "a_b", "much-too-long-a-name", "operator", "hive", "x-", "é", "", "a\n", "../x"):
        refusal = here.cli("spawn", name)
        assert refusal.returncode in (2, 5), name
        assert "Traceback" not in refusal.stderr
    assert [row["name"] for row in here.json("list")["agents"]] == ["hm1nd"]


def test_a_turn_of_the_oldest_cli_we_know(hive: Callable[..., Hive]) -> None:
    from agents.cli import FLOOR

    oldest = Path(__file__).resolve().parents[2] / ".tools" / f"claude-{FLOOR}" / "claude"
    here = hive(*rules(), HIVE_CLAUDE=str(oldest))
    here.idle("hm1nd")
    says(here, "note", "hm1nd")
    assert here.agent("hm1nd")["cli_version"] == FLOOR
    assert [turn["outcome"] for turn in here.ask("turns", name="hm1nd")["turns"]] == ["ok"]
