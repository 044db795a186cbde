"""Verbs on messages: send one, read what came, look at what went by."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from broker.ids import new_id

from . import looks
from .ends import FAILED, TIMED_OUT, End
from .host import LOOK, Host
from .terminal import Terminal

# broker.models.HIVE: what tells a sender that a message died.
HIVE = "hive"
LEASE = 60.0
POLL = 30.0


def ids(result: dict[str, Any]) -> list[int]:
    return [row["id"] for row in result["messages"]]


def id_(row: dict[str, Any]) -> list[int]:
    return [row["id"]]


def text(given: str) -> str:
    """What to send: the argument, or all of stdin for `-`."""
    return sys.stdin.read() if given == "-" else given


async def send(host: Host, out: Terminal, o: Any) -> None:
    # The id is ours, so that a repeat after a broken connection is the same message.
    message = await host.ask("send", to=o.to, body=o.text, cid=new_id())
    if o.wait:
        message |= {"reply": await reply(host, out, message, o.timeout)}
    out.result(message, looks.sent, lambda row: id_(row.get("reply") or row))


async def reply(host: Host, out: Terminal, message: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer to a message: one that names it, or the first of its thread from whom it went to."""
    try:
        async with asyncio.timeout(seconds):
            async for row in to_operator(host, message["id"]):
                if row["sender"] == HIVE and row["reply_to"] == message["id"]:
                    raise End(FAILED, row["body"])
                if answers(row, message):
                    return row
    except TimeoutError:
        pass
    sentence = f"{message['recipient']} has not answered #{message['id']} after {seconds:g} s: `hive inbox` later."
    raise End(TIMED_OUT, sentence)


def answers(row: dict[str, Any], message: dict[str, Any]) -> bool:
    same = row["reply_to"] == message["id"] or row["chain"] == message["chain"]
    return row["sender"] == message["recipient"] and same


async def to_operator(host: Host, after: int) -> AsyncIterator[dict[str, Any]]:
    """Messages to the operator newer than `after`, as they come; they stay in the inbox."""
    while True:
        page = await host.ask("messages", to="operator", after=after)
        for row in page["messages"]:
            yield row
            after = row["id"]
        if not page["messages"]:
            await asyncio.sleep(LOOK)


async def inbox(host: Host, out: Terminal, o: Any) -> None:
    if out.quiet:
        return await peek(host, out)
    while o.follow:
        await read(host, out, POLL)
    return await read_all(host, out)


async def peek(host: Host, out: Terminal) -> None:
    """Which messages wait. Ids alone are not read, so the messages stay."""
    page = await host.ask("messages", to="operator", limit=1000)
    out.result({"messages": [row for row in page["messages"] if row["state"] == "queued"]}, looks.letters, ids)


async def read(host: Host, out: Terminal, wait: float) -> None:
    """The next message. First printed, then said to be read: killed in between, it comes again."""
    turn = new_id()
    for row in await taken(host, turn, turn, wait):
        out.result(row, looks.letter, id_)
        await host.ask("ack", turn=turn)


async def read_all(host: Host, out: Terminal) -> None:
    turn = new_id()
    found: list[dict[str, Any]] = []
    while rows := await taken(host, turn, f"{turn}:{len(found)}", 0.0):
        found += rows
    out.result({"messages": found}, looks.letters, ids)
    if found:
        await host.ask("ack", turn=turn)


async def taken(host: Host, turn: str, key: str, wait: float) -> list[dict[str, Any]]:
    return (await host.ask("recv", turn=turn, key=key, wait=wait, lease=LEASE))["messages"]


async def messages(host: Host, out: Terminal, o: Any) -> None:
    wanted = {"to": o.to, "sender": o.sender, "since": o.since, "limit": o.limit}
    if not o.follow:
        out.result(await host.ask("messages", **wanted), looks.messages, ids)
        return
    async for page in host.follow("messages", "messages", "last", **wanted):
        for row in page["messages"]:
            out.result(row, looks.message_line, id_)


async def requeue(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("requeue", id=o.id), looks.sent, id_)
