"""Every verb that a socket offers, and who may say it: the whole permission table.

A verb is a plain function `verb(caller, **params)`. It runs on the writer ("write"), in a reader thread ("read") or, where
it waits for something, on the event loop ("poll"). A "hot" one is a write of few raw statements that refuses before the
first of them, so it needs no savepoint. Its annotations are checked before it is called.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, ValidationError, validate_call

from broker import disk
from broker.wire import Refused

from . import agent_verbs as agent
from . import operator_verbs as operator
from .caller import Caller, writer


class Verb(NamedTuple):
    function: Callable[..., Any]
    lane: Literal["hot", "write", "read", "poll"]


AGENT = {
    "send": Verb(agent.send, "hot"),
    "recv": Verb(agent.recv, "poll"),
    "ack": Verb(agent.ack, "hot"),
    "release": Verb(agent.release, "write"),
    "renew": Verb(agent.renew, "poll"),
    "events": Verb(agent.events, "write"),
    "hello": Verb(agent.hello, "write"),
    "why": Verb(agent.why_me, "read"),
    "login_wish": Verb(agent.login_wish, "poll"),
    "login_says": Verb(agent.login_says, "write"),
}

MANAGER = AGENT | {
    "request_spawn": Verb(agent.request_spawn, "write"),
    "request_apply_commit": Verb(agent.request_apply_commit, "poll"),
    "kill": Verb(agent.kill_other, "write"),
    "start": Verb(agent.start_other, "write"),
    "restart": Verb(agent.restart_other, "write"),
    "list_agents": Verb(agent.list_agents, "read"),
}

OPERATOR = {
    "send": Verb(agent.send, "hot"),
    "recv": Verb(agent.recv, "poll"),
    "ack": Verb(operator.ack, "hot"),
    "list": Verb(agent.list_, "read"),
    "status": Verb(operator.status, "read"),
    "spawn": Verb(operator.spawn, "write"),
    "start": Verb(operator.start, "write"),
    "stop": Verb(operator.stop, "write"),
    "restart": Verb(operator.restart, "write"),
    "kill": Verb(operator.kill, "write"),
    "rebuild": Verb(operator.rebuild, "write"),
    "rebuild_many": Verb(operator.rebuild_many, "read"),
    "destroy": Verb(operator.destroy, "write"),
    "pause": Verb(operator.pause, "write"),
    "resume": Verb(operator.resume, "write"),
    "interrupt": Verb(operator.interrupt, "write"),
    "login": Verb(operator.login, "write"),
    "login_state": Verb(operator.login_state, "read"),
    "login_code": Verb(operator.login_code, "write"),
    "login_cancel": Verb(operator.login_cancel, "write"),
    "logout": Verb(operator.logout, "write"),
    "approvals": Verb(operator.approvals, "read"),
    "show": Verb(operator.show, "read"),
    "history": Verb(operator.history, "read"),
    "rollback": Verb(operator.rollback, "poll"),
    "approve": Verb(operator.approve, "write"),
    "deny": Verb(operator.deny, "write"),
    "messages": Verb(operator.messages, "read"),
    "events": Verb(operator.events_of, "read"),
    "turns": Verb(operator.turns, "read"),
    "logs": Verb(operator.logs, "read"),
    "requeue": Verb(operator.requeue, "write"),
    "why": Verb(agent.why, "read"),
    "link": Verb(operator.link, "write"),
    "mute": Verb(operator.mute, "write"),
    "notify": Verb(operator.notify, "read"),
    "users": Verb(operator.users, "write"),
    "user_add": Verb(operator.user_add, "write"),
    "user_remove": Verb(operator.user_remove, "write"),
    "vacuum": Verb(operator.vacuum, "read"),
    "backup": Verb(operator.backup, "read"),
    "about": Verb(operator.about, "read"),
    "doctor": Verb(operator.doctor, "read"),
}

VERBS: dict[str, dict[str, Verb]] = {"agent": AGENT, "manager": MANAGER, "operator": OPERATOR}


# What makes the database grow, besides a message: it waits until the disk has room again.
GROWING = {agent.events, agent.request_spawn, agent.request_apply_commit, operator.spawn, operator.rollback}


def call(caller: Caller, method: str, params: dict[str, Any]) -> Awaitable[Any]:
    """Say a verb for a caller; Refused when there is no such verb for them, or, once awaited, the params do not fit it.

    What is hot costs no coroutine: the awaitable is a future.
    """
    verb = VERBS[caller.role].get(method)
    if verb is None:
        offered = ", ".join(VERBS[caller.role])
        raise Refused("unknown_verb", f"There is no verb {method[:40]!r} here. There are: {offered}.")
    if disk.short() and verb.function in GROWING:
        raise disk.refusal()
    return LANES[verb.lane](partial(said_to, verb.function, caller, method, params))


def said_to(function: Callable, caller: Caller, method: str, params: dict[str, Any]) -> Any:
    """The verb itself, with its params held against its annotations."""
    try:
        answer = checked(function)(caller, **params)
    except (ValidationError, TypeError) as error:
        raise misfit(method, error) from None
    return awaited(method, answer) if asyncio.iscoroutine(answer) else answer


async def awaited(method: str, answer: Awaitable[Any]) -> Any:
    """A coroutine's params are held against its annotations when it begins."""
    try:
        return await answer
    except (ValidationError, TypeError) as error:
        raise misfit(method, error) from None


def misfit(method: str, error: ValidationError | TypeError) -> Exception:
    if isinstance(error, ValidationError):
        return Refused("bad_params", f"{method}: {said(error)}")
    # `caller` given as a parameter, say: what is not a parameter by name is none at all.
    return Refused("bad_params", f"{method}: {error}.") if "multiple values" in str(error) else error


# How a verb of that lane is run.
LANES: dict[str, Callable[[Callable[[], Any]], Awaitable[Any]]] = {
    "hot": partial(writer.write, whole=True),
    "write": writer.write,
    "read": asyncio.to_thread,
    "poll": lambda bound: bound(),
}


@cache
def checked(function: Callable) -> Callable:
    """The function behind a check of its annotations, strict: no string passes for a number."""
    return validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True))(function)


def said(error: ValidationError) -> str:
    """The first thing wrong, as a sentence."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return {
        "unexpected_keyword_argument": f"There is no parameter {place[:40]!r}.",
        "missing_argument": f"The parameter {place!r} is missing.",
    }.get(first["type"], f"{place}: {first['msg'][:200]}.")
