"""The manager changes an agent by a commit: with real git in a real sandbox, the real CLI and a scripted model."""

from collections.abc import Callable
from signal import SIGKILL
from typing import Any

import pytest

from hyperhive.demo.rules import Rule, Use
from tests.hives import Hive, until

pytestmark = [pytest.mark.claude, pytest.mark.bwrap, pytest.mark.timeout(240)]

APPLY = "mcp__hive__request_apply_commit"
SHOW = "cd {place} && git log --format=%s && ls && cat agent.toml >/dev/null && echo seen"
EDIT = "cd {place} && echo '{line}' >> agent.toml && git commit -qam 'set {line}' && git rev-parse HEAD"


def rules(place: str) -> list[Rule]:
    edit = EDIT.replace("{place}", place)
    return [
        Rule(user=r"have (?P<line>[^\n]+)", offers=APPLY, reply=Use("Bash", {"command": edit})),
        Rule(
            used="Bash", result=r"(?P<sha>[0-9a-f]{40})",
            reply=Use(APPLY, {"agent": "scout", "sha": "{sha}", "why": "the operator wants it"}),
        ),
        Rule(used=APPLY, reply="Asked."),
        Rule(user="look at it", offers=APPLY, reply=Use("Bash", {"command": SHOW.replace("{place}", place)})),
        Rule(user="where are you", reply=Use("Bash", {"command": "echo in $TZ"})),
        Rule(used="Bash", result="in Europe/Berlin", reply=Use("mcp__hive__send", {"to": "operator", "body": "Berlin"})),
        Rule(user=".", reply="Well."),
        Rule(reply="Done."),
    ]  # fmt: skip


def waiting(here: Hive) -> dict[str, Any]:
    return until(lambda: here.ask("approvals")["approvals"], f"a request waits\n{here.log()[-2000:]}", 90)[0]


def settled(here: Hive, id_: int) -> dict[str, Any]:
    seen = lambda: (row := here.ask("show", id=id_))["state"] in ("applied", "failed") and row  # noqa: E731
    return until(seen, f"#{id_} is carried out\n{here.log()[-3000:]}", 90)


def said(here: Hive, word: str) -> None:
    here.delivered(here.ask("send", to="hm1nd", body=word)["id"], 90)


def told(here: Hive) -> list[str]:
    return [row["body"] for row in here.ask("messages", to="hm1nd", sender="hive")["messages"]]


@pytest.mark.parametrize("driver", ["bwrap", "process"])
def test_a_commit_is_asked_for_approved_applied_rolled_back(hive: Callable[..., Hive], driver: str, model: Any) -> None:
    place = "/agents/scout/config"
    here = hive(driver=driver, HIVE_AGENT_DISK_MAX="256M")
    if driver == "process":
        place = str(here.state / "proposed/scout/config")
    model.rules.extend(rules(place))
    here.idle("hm1nd")
    assert here.cli("spawn", "scout").returncode == 0
    said(here, "look at it")

    said(here, 'have env = { TZ = "Europe/Berlin" }')
    first = waiting(here)
    shown = here.cli("show", str(first["id"]))
    assert "env +TZ=Europe/Berlin" in shown.stdout
    assert '+ env = { TZ = "Europe/Berlin" }' in shown.stdout
    before = here.agent("scout")["pid"]
    assert here.cli("approve", str(first["id"])).returncode == 0
    assert settled(here, first["id"])["state"] == "applied", here.log()
    after = here.agent("scout")
    assert (after["config"]["env"], after["pid"] != before) == ({"TZ": "Europe/Berlin"}, True)
    here.delivered(here.ask("send", to="scout", body="where are you")["id"])
    until(
        lambda: [row for row in here.ask("messages", sender="scout")["messages"] if row["body"] == "Berlin"], "it knows"
    )

    said(here, "have # only words")
    words = waiting(here)
    assert here.ask("show", id=words["id"])["changes"] == []
    assert here.cli("deny", str(words["id"]), "--reason", "say something").returncode == 0
    until(lambda: any("denied by operator: say something" in body for body in told(here)), "hm1nd hears of the no")

    said(here, 'have modle = "opus"')
    assert "Did you mean 'model'?" in str(here.events("hm1nd")[-12:]), "a mistake is told at once"
    assert here.ask("approvals")["approvals"] == []


def test_what_does_not_come_up_is_rolled_back_and_says_so(hive: Callable[..., Hive]) -> None:
    here = hive(*rules("/agents/scout/config"))
    here.idle("hm1nd")
    assert here.cli("spawn", "scout").returncode == 0
    said(here, 'have model = "opus"')
    first = waiting(here)
    assert here.cli("approve", str(first["id"])).returncode == 0
    assert settled(here, first["id"])["state"] == "applied", here.log()

    # Under this one no program that is linked dynamically starts: claude neither.
    said(here, 'have env = { LD_TRACE_LOADED_OBJECTS = "1" }')
    bad = waiting(here)
    assert here.cli("approve", str(bad["id"])).returncode == 0
    failed = settled(here, bad["id"])
    assert (failed["state"], failed["error"]) == (
        "failed", "Its harness says hello, but claude does not start under this configuration.",
    )  # fmt: skip
    here.idle("scout")
    assert here.agent("scout")["config"] == {"model": "opus"}
    until(lambda: any("the configuration from before is back" in body for body in told(here)), "hm1nd hears of it")

    history = here.json("history", "scout")["history"]
    assert [row["message"].split(":")[0] for row in history] == [
        "Back", f"#{bad['id']}", f"#{first['id']}", "Spawned by operator",
    ]  # fmt: skip
    rolled = here.cli("rollback", "scout")
    assert rolled.returncode == 0, rolled.stderr
    assert "model opus → unset" in rolled.stderr
    assert here.agent("scout")["config"] == {}
    again = here.cli("rollback", "scout", history[2]["rev"][:10])
    assert again.returncode == 0, again.stderr
    assert here.agent("scout")["config"] == {"model": "opus"}


def test_a_hive_that_is_killed_while_it_applies_goes_on_when_it_is_back(hive: Callable[..., Hive]) -> None:
    here = hive(*rules("/agents/scout/config"), HIVE_CRASH_AT="apply_commit.commit.done")
    here.idle("hm1nd")
    assert here.cli("spawn", "scout").returncode == 0
    said(here, 'have model = "opus"')
    asked = waiting(here)
    here.cli("approve", str(asked["id"]))
    assert here.daemon
    assert here.daemon.wait(60) == -SIGKILL
    assert here.daemon.stdout
    here.daemon.stdout.close()

    del here.env["HIVE_CRASH_AT"]
    here.start()
    assert settled(here, asked["id"])["state"] == "applied", here.log()
    here.idle("scout")
    assert here.agent("scout")["config"] == {"model": "opus"}
    history = [row["message"].split(":")[0] for row in here.json("history", "scout")["history"]]
    assert history == [f"#{asked['id']}", "Spawned by operator"]
    assert len([body for body in told(here) if f"#{asked['id']}" in body]) == 1
