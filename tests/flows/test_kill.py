"""kill -9 in the middle of a turn: the message comes again or the turn goes on, and no event is lost or doubled."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from hyperhive.demo.rules import Rule, Use
from tests.hives import Hive, until

pytestmark = [pytest.mark.claude, pytest.mark.bwrap, pytest.mark.timeout(180)]


def rules() -> list[Rule]:
    """The first attempt works for a while; what comes after it ends at once."""
    return [
        Rule(user="dig", times=1, reply=Use("Bash", {"command": "sleep 8; echo dug"})),
        Rule(used="Bash", result="dug", reply="I dug."),
        Rule(user="dig", reply="I dug the second time."),
    ]


def digging(hive: Callable[..., Hive]) -> tuple[Hive, int]:
    """A hive whose manager runs its Bash tool for a message just now."""
    here = hive(*rules())
    here.idle("hm1nd")
    sent = here.ask("send", to="hm1nd", body="please dig", cid="dig-once")["id"]
    until(lambda: here.processes("hm1nd", "sleep 8"), f"the tool runs\n{here.log()}")
    return here, sent


def numbers_are_whole(here: Hive) -> None:
    seqs = [event["seq"] for event in here.events("hm1nd")]
    assert seqs == list(range(1, len(seqs) + 1))


def outcomes(here: Hive) -> list[str]:
    return [turn["outcome"] for turn in here.ask("turns", name="hm1nd")["turns"]]


def test_of_the_harness(hive: Callable[..., Hive]) -> None:
    here, sent = digging(hive)
    [harness] = [pid for pid in here.processes("hm1nd", "django harness")][:1]
    os.kill(harness, signal.SIGKILL)
    assert here.delivered(sent)["attempt"] == 2
    until(lambda: outcomes(here) == ["killed", "ok"], "both turns are recorded, the first as what it was")
    numbers_are_whole(here)


def test_of_the_cli(hive: Callable[..., Hive]) -> None:
    here, sent = digging(hive)
    for claude in here.processes("hm1nd", "--output-format stream-json"):
        os.kill(claude, signal.SIGKILL)
    assert here.delivered(sent)["attempt"] == 2
    until(lambda: outcomes(here) == ["crashed", "ok"], "both turns are recorded, the first as what it was")
    assert not here.processes("hm1nd", "sleep 8"), "what the killed CLI had started is gone"
    numbers_are_whole(here)


def test_of_the_daemon(hive: Callable[..., Hive]) -> None:
    here, sent = digging(hive)
    inner = here.agent("hm1nd")["pid"]
    here.stop(signal.SIGKILL)
    time.sleep(1)
    here.start()
    assert here.delivered(sent)["attempt"] == 1
    assert here.agent("hm1nd")["pid"] == inner, "the agent was taken up again, not started anew"
    until(lambda: outcomes(here) == ["ok"], "the turn simply went on")
    numbers_are_whole(here)


def test_a_turn_that_the_operator_interrupts_is_no_success(hive: Callable[..., Hive]) -> None:
    here, sent = digging(hive)
    assert here.cli("interrupt", "hm1nd").returncode == 0
    until(lambda: outcomes(here) == ["interrupted"], "the turn is ended")
    assert here.message(sent)["state"] == "dead"
    here.idle("hm1nd")
