"""PAN1C against turns that run: they end within seconds, and what they were at is done once they may go on."""

import os
import time
from collections.abc import Callable

import pytest

from hyperhive.demo.rules import Rule, Use
from tests.hives import Hive, until
from tests.signed_in import SignedIn

pytestmark = [pytest.mark.claude, pytest.mark.bwrap, pytest.mark.timeout(180)]

SECONDS = 15  # the ladder to the kill is 12 s long; a claude that is asked in good order needs about one


def rules() -> list[Rule]:
    """At first the model thinks for long, then a tool runs for long, then it is done at once."""
    return [
        Rule(user="dig", times=1, before=100, reply="I never said this."),
        Rule(user="dig", times=1, reply=Use("Bash", {"command": "sleep 77"})),
        Rule(user="dig", reply="I dug."),
    ]


def stopped(here: Hive, sent: int, turns: int, since: float) -> None:
    """The turn and its processes are gone, its message waits, and nothing begins anew."""
    until(lambda: ended(here) == ["panic"] * turns, f"{turns} turns are ended\n{here.log()}", SECONDS)
    assert time.monotonic() - since < SECONDS
    until(lambda: here.message(sent)["state"] == "queued", "its message waits", 5)
    assert not here.processes("hm1nd", "--output-format stream-json")
    assert not here.processes("hm1nd", "sleep 77")
    assert here.message(sent)["attempt"] == 0, "it counts as if the turn had not been"
    assert here.agent("hm1nd")["state"] == "paused"
    other = here.ask("send", to="hm1nd", body="dig too")["id"]
    time.sleep(1.5)
    assert here.message(other)["state"] == "queued"
    assert ended(here) == ["panic"] * turns


def ended(here: Hive) -> list[str]:
    return [turn["outcome"] for turn in here.ask("turns", name="hm1nd")["turns"]]


def test_it_ends_turns_from_the_page_and_from_the_command_line_and_loses_no_message(hive: Callable[..., Hive]) -> None:
    here = hive(*rules())
    here.idle("hm1nd")
    page = SignedIn(here)
    sent = here.ask("send", to="hm1nd", body="please dig")["id"]
    until(lambda: here.processes("hm1nd", "--output-format stream-json"), f"claude runs\n{here.log()}")
    until(lambda: any(event["kind"] == "system" for event in here.events("hm1nd")), "it is at its question")

    begun = time.monotonic()
    assert "1 turns end now, 1 agents are paused" in page.post("/panic")
    stopped(here, sent, 1, begun)
    assert here.json("panic")["ended"] == [], "said again, there is nothing left to end"

    over = here.cli("panic", "--over")
    assert (over.returncode, over.stdout) == (0, "hm1nd: goes on\n"), over.stderr
    assert here.cli("panic", "--over").returncode == 5
    until(lambda: here.processes("hm1nd", "sleep 77"), f"the message came again, and a tool runs\n{here.log()}")
    begun = time.monotonic()
    assert here.json("panic") == {"schema": 1, "paused": ["hm1nd"], "ended": ["hm1nd"]}
    stopped(here, sent, 2, begun)

    assert "1 agents go on" in page.post("/panic/over", since=page.field("/", "since"))
    assert here.delivered(sent)["attempt"] == 1
    acts = [(act["verb"], act["where"].partition(" at ")[0]) for act in here.json("audit")["acts"]]
    page_, cli = "the dashboard", f"the command line, uid {os.geteuid()}"
    assert acts == [
        ("link", "start"), ("link", cli), ("sign in", page_), ("panic", page_), ("panic", cli), ("panic over", cli),
        ("panic", cli), ("panic over", page_),
    ]  # fmt: skip
    assert [hit["title"] for hit in here.json("search", "please dig")["hits"]] == [f"#{sent} operator → hm1nd"]
    assert {hit["kind"] for hit in here.json("search", "I dug.")["hits"]} == {"events"}
    assert "dead" not in {row["state"] for row in here.ask("messages", after=0)["messages"]}
