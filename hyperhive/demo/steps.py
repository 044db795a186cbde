"""The tour's steps, as far as the scout's report. A step counts once it is seen in the hive's own rows, asked for over
host.sock; nothing is taken on trust.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from hyperhive.demo import story
from hyperhive.demo.temporary import TemporaryHive

Row = dict[str, Any]
MANAGER, OPERATOR, HIVE, SCOUT = "hm1nd", "operator", "hive", story.SCOUT
QUOTE = 100
NO = ("denied", "superseded", "expired", "cancelled")


class Denied(Exception):
    """Somebody said no, in the browser or with `hive deny`: then there is no more to tour."""


class Missing(Exception):
    """A step was not seen in time, or never will be; the text says which, and what there is to read about it."""


class Step(NamedTuple):
    """`seen` says in a sentence what is there, '' while it is not; after `seconds` it is missing."""

    name: str
    seconds: float
    seen: Callable[[TemporaryHive], Awaitable[str]]


# ---- looking -------------------------------------------------------------------------------------------------------------


async def row(hive: TemporaryHive, name: str) -> Row:
    rows = (await hive.ask("list"))["agents"]
    return next((agent for agent in rows if agent["name"] == name), {})


async def states(hive: TemporaryHive) -> str:
    """How every agent is, for whoever has to find out why a step is missing."""
    rows = (await hive.ask("list"))["agents"] if await hive.answers() else []
    return " ".join(f"{agent['name']} is {agent['state']}. {agent['why']}".strip() for agent in rows)


async def message(hive: TemporaryHive, sender: str, to: str, holding: str) -> Row:
    found = (await hive.ask("messages", sender=sender, to=to, limit=200))["messages"]
    return next((one for one in found if holding in one["body"]), {})


async def request(hive: TemporaryHive, why: str) -> Row:
    """The request that was made with these words."""
    found = (await hive.ask("approvals", state="all"))["approvals"]
    return next((one for one in found if (one["agent"], one["why"]) == (SCOUT, why)), {})


async def used(hive: TemporaryHive, name: str, tool: str, holding: str = "") -> Row:
    """An agent's first call of a tool, with the result that it had as `result`, {} before that."""
    calls = [block for block in await blocks(hive, name, "assistant") if block.get("type") == "tool_use"]
    call = next((one for one in calls if one["name"] == tool and holding in str(one["input"])), {})
    results = [block for block in await blocks(hive, name, "user") if call and block.get("tool_use_id") == call["id"]]
    return call | {"result": results[0]} if results and not results[0].get("is_error") else {}


async def blocks(hive: TemporaryHive, name: str, kind: str) -> list[Row]:
    """What an agent's lines of that kind hold."""
    events = (await hive.ask("events", name=name, after=0, limit=1000))["events"]
    contents = [event["payload"].get("message", {}).get("content") for event in events if event["kind"] == kind]
    return [block for content in contents if isinstance(content, list) for block in content]


def quote(body: str) -> str:
    line = " ".join(body.split())
    return f"“{line if len(line) <= QUOTE else line[: QUOTE - 1] + '…'}”"


def says(sender: str, to: str, holding: str) -> Callable[[TemporaryHive], Awaitable[str]]:
    async def seen(hive: TemporaryHive) -> str:
        found = await message(hive, sender, to, holding)
        return f"{sender} → {to}: {quote(found['body'])}" if found else ""

    return seen


# ---- what is to be seen --------------------------------------------------------------------------------------------------


async def serving(hive: TemporaryHive) -> str:
    return f"the hive serves at http://{hive.bind}" if await hive.answers() else ""


async def manager_idle(hive: TemporaryHive) -> str:
    agent = await row(hive, MANAGER)
    return f"{MANAGER} is up and idle (driver {agent['driver']})" if agent.get("state") == "idle" else ""


async def waiting(hive: TemporaryHive) -> str:
    approval = await request(hive, story.WHY)
    return f"request #{approval['id']} for {SCOUT} waits for a yes" if approval else ""


def decided(why: str) -> Callable[[TemporaryHive], Awaitable[str]]:
    async def seen(hive: TemporaryHive) -> str:
        approval = await request(hive, why)
        if approval["state"] == "pending":
            return ""
        if approval["state"] in NO:
            raise Denied(f"request #{approval['id']} was {approval['state']}: {approval['reason']}")
        return f"request #{approval['id']} was approved by {approval['decided_by']} from {approval['decided_from']}"

    return seen


def applied(approval: Row) -> bool:
    if approval["state"] == "failed":
        raise Missing(f"request #{approval['id']} failed: {approval['error']}")
    return approval["state"] == "applied"


async def scout_runs(hive: TemporaryHive) -> str:
    agent = await row(hive, SCOUT)
    up = (
        applied(await request(hive, story.WHY))
        and agent.get("status") == "running"
        and agent["state"] in ("idle", "thinking")
    )
    return f"{SCOUT} runs in a container of its own, as host user {agent['uid']}" if up else ""


async def works(hive: TemporaryHive) -> str:
    call = await used(hive, SCOUT, "Bash")
    return f"{SCOUT} runs a shell command in there: {call['input']['command']}" if call else ""


async def noted(hive: TemporaryHive) -> str:
    """Both in the events and on the disk, where it outlives the container."""
    note = hive.state / "agents" / SCOUT / "state" / story.NOTE
    if not await used(hive, SCOUT, "Write") or not note.exists():
        return ""
    return f"{SCOUT} keeps a note: {note} ({note.stat().st_size} bytes)"


async def settled(hive: TemporaryHive) -> str:
    """Every turn ended well, and whatever was sent to an agent is delivered."""
    turns = [turn for name in (MANAGER, SCOUT) for turn in (await hive.ask("turns", name=name))["turns"]]
    sent = (await hive.ask("messages", limit=200))["messages"]
    arrived = all(one["state"] == "delivered" for one in sent if one["recipient"] != OPERATOR)
    well = all(turn["outcome"] == "ok" for turn in turns)
    return f"all {len(turns)} turns ended well, every message arrived" if turns and well and arrived else ""


async def ask_manager(hive: TemporaryHive, body: str) -> None:
    await hive.ask("send", to=MANAGER, body=body, cid=uuid.uuid4().hex)


# The operator asks after the first of these, and approves after the second.
ARRIVING = (
    Step("serving", 60, serving),
    Step("hm1nd idle", 90, manager_idle),
)
ASKING = (
    Step("the operator asks", 10, says(OPERATOR, MANAGER, story.WISH)),
    Step("the request waits", 60, waiting),
    Step("hm1nd has asked", 30, says(MANAGER, OPERATOR, story.ASKED)),
)
WORKING = (
    Step("approved", 30, decided(story.WHY)),
    Step("scout starts", 90, scout_runs),
    Step("hm1nd hears of it", 30, says(HIVE, MANAGER, "and applied")),
    Step("scout gets work", 60, says(MANAGER, SCOUT, story.GREETING)),
    Step("scout works", 60, works),
    Step("the note is written", 60, noted),
    Step("scout reports", 60, says(SCOUT, MANAGER, "looked around")),
    Step("hm1nd answers", 60, says(MANAGER, OPERATOR, "Your scout is back")),
)
