"""What an agent may say, and what the manager may say besides."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from django.db import models
from django.utils import timezone
from pydantic import Field

from agents.models import Agent, Event, Login, Turn
from approvals import intake
from approvals.models import Approval, check_why
from broker.events import Subscription, Taker, publish_on_commit
from broker.models import Lease, Message, Reader
from broker.wire import Refused
from lifecycle.models import Container

from .caller import Caller, Count, EventRow, Id, Name, Seconds, Sha, TurnRow, Wait, Why, writer

# ---- what an agent may say --------------------------------------------------------------------------------------------


def send(
    caller: Caller,
    to: Name,
    body: str,
    cid: Id | None = None,
    reply_to: Count | None = None,
    turn: Id | None = None,
) -> dict:
    """Send a message to an agent, to the manager or to `operator`. It is kept until it was read."""
    return Message.post(caller.name, to, body, cid=cid, reply_to=reply_to, turn=turn)


def recv(caller: Caller, turn: Id, wait: Wait = 0, lease: Seconds = 90, key: Id | None = None) -> Taker:
    """Take the oldest message that waits for the caller, waiting up to `wait` seconds for one."""
    reader = Reader(turn, key or turn, lease, takes_messages)
    claim = partial(claimed, caller.name, reader)
    return Taker(f"inbox:{caller.name}", claim, NO_MESSAGES, writer.write, wait, reader, turn)


# One for all who wait in vain; it is written to the wire, and nobody changes it.
NO_MESSAGES: dict[str, list] = {"messages": []}


def claimed(name: str, reader: Reader) -> dict | None:
    """Who may have no message gets none, but a repeat gets what its first call had.

    Empty while it may get none, None when nothing waits at all.
    """
    turn, key, lease, may = reader
    if not Message.any_for(name, turn):
        return None
    messages = Message.take(name, turn, key, lease) if may(name) or Lease.known(turn) else []
    return {"messages": messages} if messages else {}


def takes_messages(name: str) -> bool:
    """Not while it is paused, about to be ended or rebuilt, or out of its budget."""
    return not Container.takes_no_message(name)


async def renew(caller: Caller, turn: Id, lease: Seconds = 90, wait: Annotated[float, Field(ge=0, le=20)] = 0) -> dict:
    """Keep a turn's lease; answers early when the operator wants the turn ended."""
    await writer.write(partial(Lease.renew, turn, caller.name, lease))
    deadline = asyncio.get_running_loop().time() + wait
    with Subscription(f"control:{caller.name}") as control:
        while not (wishes := await asyncio.to_thread(wished, caller.name, turn))["interrupt"]:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await control.wait(left):
                break
    return wishes


def wished(name: str, turn: str) -> dict:
    paused = Container.objects.filter(name=name, paused=True).exists()
    ended = Agent.objects.filter(name=name, interrupt=turn).first()
    return {"interrupt": ended is not None, "keep": ended is not None and ended.keep, "paused": paused}


def ack(caller: Caller, turn: TurnRow) -> dict:
    """The turn succeeded: it is recorded and what it claimed is delivered, in one transaction."""
    Turn.record(caller.name, turn.model_dump())
    return {"acked": Message.ack(caller.name, turn.id)}


def release(caller: Caller, turn: TurnRow, how: Literal["retry", "hold", "dead"], reason: str) -> dict:
    """The turn did not succeed: what it claimed waits again (`hold`: without counting the attempt) or is dead."""
    Turn.record(caller.name, turn.model_dump())
    return {"released": RELEASES[how](caller.name, turn.id, reason)}


RELEASES = {"retry": Message.release, "hold": Message.hold, "dead": Message.dead_letter}


def events(
    caller: Caller,
    rows: Annotated[list[EventRow], Field(max_length=2000)],
    turns: Annotated[list[TurnRow], Field(max_length=200)],
) -> dict:
    """Replay events and turns from the caller's journal; what is here already is passed over."""
    for turn in turns:
        Turn.record(caller.name, turn.model_dump())
    return {"seq": Event.take_over(Agent.objects.get(name=caller.name), [dict(row) for row in rows])}


def hello(caller: Caller, harness: Id, cli_version: Annotated[str, Field(max_length=40)], seq: Count) -> dict:
    """A harness begins, or has found the host again; `seq` is the newest event of its journal."""
    agent = Agent.objects.get(name=caller.name)
    agent.harness, agent.cli_version, agent.seen_at = harness, cli_version, timezone.now()
    agent.save(update_fields=["harness", "cli_version", "seen_at"])
    publish_on_commit("containers", f"agent:{caller.name}")
    paused = Container.objects.filter(name=caller.name, paused=True).exists()
    newest = Turn.objects.filter(agent=caller.name).aggregate(models.Max("number"))["number__max"] or 0
    return {"name": caller.name, "role": caller.role, "seq": agent.seq, "number": newest, "paused": paused}


async def login_wish(caller: Caller, wait: Wait = 0) -> dict:
    """What the operator wishes of the caller's login to Claude; answers early when there is something."""
    deadline = asyncio.get_running_loop().time() + wait
    with Subscription(f"control:{caller.name}") as control:
        while not (wish := await asyncio.to_thread(lambda: Login.of(caller.name).next()))["wish"]:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await control.wait(left):
                break
    return wish


def login_says(
    caller: Caller,
    state: Literal["", "starting", "waiting", "checking", "ok", "failed"],
    takes: Count = 0,
    link: Annotated[str, Field(max_length=2000)] = "",
    words: Annotated[str, Field(max_length=500)] = "",
    logged_in: bool | None = None,
    account: Annotated[str, Field(max_length=200)] = "",
) -> dict:
    """How the caller's login stands; `takes` is the number of the wish that it took up."""
    Login.of(caller.name).says(state, takes, link, words, logged_in, account)
    return {"taken": takes}


def why_me(caller: Caller) -> dict:
    """Why the caller is in the state it is in."""
    return why(caller, caller.name)


def why(caller: Caller, name: Name) -> dict:
    """The one cause of an agent's state, and the verb that mends it ('' when nothing needs mending)."""
    container = Container.named(name)
    state, _, cause = container.state()
    return {
        "name": name,
        "state": state,
        "why": cause or CAUSES.get(state, ""),
        "fix": FIXES.get(state, "").format(name=name),
    }


CAUSES = {
    "idle": "It waits for a message.",
    "thinking": "A turn is running.",
    "offline": "Its container does not run.",
    "paused": "It is paused: messages wait.",
    "login": "Claude is not logged in.",
}
FIXES = {
    "offline": "hive start {name}",
    "paused": "hive resume {name}",
    "login": "hive login {name}",
    "failing": "hive logs {name}",
}


# ---- what the manager may say besides ---------------------------------------------------------------------------------


def request_spawn(
    caller: Caller, name: Name, why: Why, config: dict[str, Any] | None = None, cid: Id | None = None
) -> dict:
    """Ask the operator for a new agent. It starts once they say yes; the outcome comes as a message from `hive`."""
    return brief(Approval.request_spawn(caller.name, name, why, config, cid))


async def request_apply_commit(caller: Caller, agent: Name, sha: Sha, why: Why, cid: Id | None = None) -> dict:
    """Ask the operator to apply a commit of an agent's configuration. The fetch takes its time, beside the writer."""
    if already := await asyncio.to_thread(Approval.asked, caller.name, cid):
        return brief(already)
    check_why(why)
    found = await asyncio.to_thread(intake.fetched, agent, sha)
    ask = partial(Approval.request_apply_commit, caller.name, agent, sha, why, cid, found)
    return brief(await writer.write(ask)) | {"changes": intake.changes(found.before, found.content)}


def brief(approval: Approval) -> dict:
    """What a requester may know of its request."""
    return {name: approval.as_json()[name] for name in ("id", "kind", "agent", "state", "why", "created_at", "reason")}


def list_(caller: Caller) -> dict:
    """Every agent that was not destroyed."""
    return {
        "agents": [row.as_json() for row in Container.objects.exclude(status="destroyed").order_by("-role", "name")]
    }


def list_agents(caller: Caller) -> dict:
    """Every agent with its state and how many messages wait for it."""
    names = ("name", "role", "state", "state_since", "why", "inbox")
    return {"agents": [{name: row[name] for name in names} for row in list_(caller)["agents"]]}


def another(caller: Caller, name: Name) -> Container:
    """An agent that the manager may act on: any but itself."""
    if name == caller.name:
        raise Refused("refused", "A manager acts on other agents, not on itself.", "not_yourself")
    return Container.named(name)


def kill_other(caller: Caller, name: Name) -> dict:
    """End an agent's turn and stop its container at once. Its messages and notes stay."""
    return acted(another(caller, name), Container.kill)


def start_other(caller: Caller, name: Name) -> dict:
    """Start a stopped agent."""
    return acted(another(caller, name), Container.start)


def restart_other(caller: Caller, name: Name) -> dict:
    """Stop an agent in good order and start it again."""
    return acted(another(caller, name), Container.restart)


def acted(container: Container, verb: Callable[[Container], Any]) -> dict:
    verb(container)
    return container.as_json()
