"""The tour's second half: a change of the scout's configuration that is applied, and one that is taken back."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from hyperhive.demo import steps, story
from hyperhive.demo.steps import HIVE, MANAGER, OPERATOR, SCOUT, Missing, Row, Step, decided, request, says
from hyperhive.demo.temporary import TemporaryHive

GOOD, BAD = story.GOOD[0], story.BAD[0]
SIGNS = {"add": "+", "del": "-"}
WANTED = {"egress": ["docs.example.org"]}


async def shown(hive: TemporaryHive, why: str) -> Row:
    """The request with its difference, {} before there is one."""
    approval = await request(hive, why)
    return await hive.ask("show", id=approval["id"]) if approval else {}


def difference(approval: Row) -> list[str]:
    """What is added and removed of the configuration, without the lines in which it only says how it is used."""
    lines = [(SIGNS.get(line["kind"]), line["text"]) for line in approval["diff"]]
    return [f"{sign} {text}" for sign, text in lines if sign and text.strip() and not text.startswith("#")]


async def approvals(hive: TemporaryHive) -> dict[str, int]:
    """How many were applied, and how many were and then taken back, which is a commit of its own in the agent's history."""
    rows = (await hive.ask("approvals", state="all"))["approvals"]
    history = (await hive.ask("history", name=SCOUT))["history"]
    return {
        "applied": sum(one["state"] == "applied" for one in rows),
        "rolled_back": sum(entry["message"].startswith("Back: #") for entry in history),
    }


# ---- what is to be seen --------------------------------------------------------------------------------------------------


def committed(why: str) -> Callable[[TemporaryHive], Awaitable[str]]:
    async def seen(hive: TemporaryHive) -> str:
        call, approval = await steps.used(hive, MANAGER, "Bash", why), await request(hive, why)
        if not call or not approval or approval["sha"] not in str(call["result"]):
            return ""
        return f"{MANAGER} commits to {SCOUT}'s proposed configuration: {approval['sha'][:10]} {why}"

    return seen


def waiting(why: str) -> Callable[[TemporaryHive], Awaitable[str]]:
    async def seen(hive: TemporaryHive) -> str:
        approval = await shown(hive, why)
        return f"request #{approval['id']} waits for a yes: {', '.join(approval['changes'])}" if approval else ""

    return seen


async def rebuilt(hive: TemporaryHive) -> str:
    """It runs with the new configuration, in processes that are younger than the yes."""
    approval, agent = await request(hive, GOOD), await steps.row(hive, SCOUT)
    if not steps.applied(approval) or not up_since(agent, approval["decided_at"]) or agent["config"] != WANTED:
        return ""
    return f"{SCOUT} was rebuilt with #{approval['id']} and says hello again"


async def unhealthy(hive: TemporaryHive) -> str:
    approval = await request(hive, BAD)
    if approval["state"] == "applied":
        raise Missing(f"request #{approval['id']} was to fail its health check, and {SCOUT} came up with it.")
    return f"{SCOUT} fails its health check with #{approval['id']}: {approval['error']}" if approval["error"] else ""


async def back(hive: TemporaryHive) -> str:
    approval, agent = await request(hive, BAD), await steps.row(hive, SCOUT)
    if approval["state"] != "failed" or not up_since(agent, approval["decided_at"]) or agent["config"] != WANTED:
        return ""
    newest = (await hive.ask("history", name=SCOUT))["history"][0]
    if not newest["message"].startswith(f"Back: #{approval['id']} "):
        return ""
    return f"the configuration from before is back, as {newest['rev'][:10]}, and {SCOUT} says hello again"


def up_since(agent: Row, moment: str) -> bool:
    since = agent["started_at"] and datetime.fromisoformat(agent["started_at"]) > datetime.fromisoformat(moment)
    return bool(since) and agent["status"] == "running" and agent["state"] in ("idle", "thinking")


# Before each yes, and after it.
COMMITTING = (
    Step("a change is wanted", 10, says(OPERATOR, MANAGER, story.LET)),
    Step("the change is committed", 60, committed(GOOD)),
    Step("the change waits", 30, waiting(GOOD)),
)
CHANGING = (
    Step("the change is approved", 30, decided(GOOD)),
    Step("scout is rebuilt", 90, rebuilt),
    Step("hm1nd hears of the change", 30, says(HIVE, MANAGER, story.APPLIED)),
    Step("the second change is committed", 60, committed(BAD)),
    Step("the second change waits", 30, waiting(BAD)),
)
GOING_BACK = (
    Step("the second change is approved", 30, decided(BAD)),
    Step("it fails its health check", 90, unhealthy),
    Step("it is rolled back", 90, back),
    Step("hm1nd hears of the rollback", 30, says(HIVE, MANAGER, story.BACK)),
    Step("hm1nd tells the operator", 60, says(MANAGER, OPERATOR, "took it back by itself")),
    Step("all settled", 30, steps.settled),
)
