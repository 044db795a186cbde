"""Processes to be killed: `python -m tests.crash.mortal` loads the host's code once and forks for each order.

An order is a line of JSON, `{"hive": DIR, "act": NAME, "crash_at": POINT, …}`; the answer is one too: how the process ended
(0, or the signal's number below zero), and what it said. `"background": true` answers at once with its pid.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection

# Processes that nobody waits for yet.
BEGUN: list[int] = []

OLD, NEW, SHA = 'model = "opus"\n', 'model = "opus"\negress = ["docs.example.org"]\n', "a" * 40


def main() -> None:
    warm_up()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
    for pid in BEGUN:
        os.kill(pid, signal.SIGKILL)


def answer(order: dict[str, Any]) -> dict[str, Any]:
    if pid := order.get("ended"):
        BEGUN.remove(pid)
        return {"ended": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
    if order.pop("background", False):
        if not (pid := os.fork()):
            live(order, os.open(os.devnull, os.O_WRONLY))
        BEGUN.append(pid)
        return {"pid": pid}
    return obey(order)


def warm_up() -> None:
    """What is done for the first time takes five times as long, so it is done once here; no connection stays open."""
    with tempfile.TemporaryDirectory() as place:
        open_hive(place)
        make("fails")
        finish("fails")
        connection.close()
    gc.collect()
    gc.freeze()


def open_hive(place: str) -> None:
    settings.HIVE_STATE_DIR = Path(place)
    connection.settings_dict["NAME"] = settings.HIVE_STATE_DIR / "hive.sqlite3"


def obey(order: dict[str, Any]) -> dict[str, Any]:
    """In a process of its own, which nothing but the database and the repository outlives."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        os.close(reading)
        live(order, writing)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"ended": status, "said": json.loads(said) if said else None}


def live(order: dict[str, Any], writing: int) -> None:
    """Never returns: what is above us is the parent's."""
    code = 1
    try:
        open_hive(order.pop("hive"))
        points.CRASH_AT = order.pop("crash_at", "")
        said = ACTS[order.pop("act")](**order)
        os.write(writing, json.dumps(said).encode())
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(code)


# ---- what a process does ----------------------------------------------------------------------------------------------


def make(story: str) -> None:
    """A hive with an agent that runs, and something that was approved; `story` says what will come of it."""
    call_command("migrate", verbosity=0)
    for name, role in ((HIVE, "hive"), ("hm1nd", "manager"), ("scout", "agent")):
        Mailbox.objects.create(name=name, role=role, open=role != "hive")
    Agent.objects.create(name="scout", cli_version="2.1.330")
    old = {"name": "scout", "driver": "process", "uid": 40000, "status": "running"}
    row = Container.objects.create(**old, source=OLD, config=AgentConfig.from_toml(OLD.encode()).written())
    repos.Applied("scout").commit({"agent.toml": OLD.encode()}, "Spawned", "operator")
    if story.startswith("spawn"):
        approval = Approval.request_spawn("hm1nd", "owl", "to see at night")
    else:
        found = intake.proposed(row, NEW, SHA)
        approval = Approval.request_apply_commit("hm1nd", "scout", SHA, "it reads", found=found)
    approval.approve("operator", "a test", approval.sha256)
    if story == "applies":
        later = intake.proposed(row, 'model = "haiku"\n', "b" * 40)
        Approval.request_apply_commit("hm1nd", "scout", "b" * 40, "on the old base: it is superseded", found=later)
    if story == "spawn fails":
        Container.spawn("owl")
    if story == "destroyed":
        Container.objects.update(desired="destroyed")


def carry(story: str) -> None:
    """All there is to carry out, with a lifecycle that rebuilds at once; in a story that fails, NEW does not come up."""
    Approval.carry_out_all()
    while row := Container.objects.filter(op="rebuild").first():
        with open(settings.HIVE_STATE_DIR / "rebuilds", "a") as log:
            log.write(row.source.replace("\n", " ") + "\n")
        bad = {"status": "failing", "error": "No hello."} if story == "fails" and row.source == NEW else {}
        steps.settle(row, {"status": "running", "error": ""} | bad)
        Approval.carry_out_all()


def finish(story: str) -> dict[str, Any]:
    """The same, and how it was before and after."""
    found = look()
    carry(story)
    return {"found": found, "left": look()}


def record(story: str) -> list[str]:
    """The points that are reached, in order, by who is not killed."""
    seen: list[str] = []
    points.reached = seen.append  # type: ignore[assignment]
    carry(story)
    return seen


def look() -> dict[str, Any]:
    """All that may happen once: nothing in it depends on when it happened."""
    rebuilds = settings.HIVE_STATE_DIR / "rebuilds"
    return {
        "states": list(Approval.objects.order_by("id").values_list("state", "step", "error")),
        "told": list(Message.objects.order_by("id").values_list("recipient", "body")),
        "commits": commits(),
        "containers": list(Container.objects.values_list("name", "intent", "op", "source", "config")),
        "rebuilds": rebuilds.read_text().splitlines() if rebuilds.exists() else [],
    }


def commits() -> list[str]:
    """Those of the applied repository, oldest first: each one's message, and below it what it changed."""
    command = ["git", "-C", str(repos.Applied("scout").place), "log", "-p", "--reverse", "--format=commit: %s", "main"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("commit: ")[1:]


def dump() -> list[str]:
    """The database, to the last row, and where the applied repository stands."""
    connection.ensure_connection()
    return [*connection.connection.iterdump(), (repos.Applied("scout").place / "refs/heads/main").read_text()]


ACTS: dict[str, Callable[..., Any]] = {
    "make": make,
    "carry": carry,
    "finish": finish,
    "record": record,
    "look": look,
    "dump": dump,
}

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "hyperhive.settings"
    django.setup()
    from django.core.management import call_command

    from agents.models import Agent
    from approvals import carry as _carry  # noqa: F401 (loaded before the fork, as all of it)
    from approvals import intake
    from approvals.models import Approval
    from broker import points
    from broker.models import HIVE, Mailbox, Message
    from lifecycle import repos, steps
    from lifecycle.config import AgentConfig
    from lifecycle.models import Container

    from . import load, mailboxes

    ACTS |= mailboxes.ACTS | load.ACTS
    main()
