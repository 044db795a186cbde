"""Verbs on what an agent did: its events, its turns, its log."""

from typing import Any

from . import looks
from .host import Host
from .terminal import Terminal


async def events(host: Host, out: Terminal, o: Any) -> None:
    wanted = {"name": o.name, "limit": o.limit}
    if not o.follow:
        out.result(await host.ask("events", **wanted), looks.events, numbers)
        return
    async for page in host.follow("events", "events", "last", **wanted):
        for row in page["events"]:
            out.result(row, looks.event, number)


def number(row: dict[str, Any]) -> list[int]:
    return [row["seq"]]


def numbers(page: dict[str, Any]) -> list[int]:
    return [row["seq"] for row in page["events"]]


async def turns(host: Host, out: Terminal, o: Any) -> None:
    found = await host.ask("turns", name=o.name, limit=o.limit)
    out.result(found, looks.turns, lambda page: [row["id"] for row in page["turns"]])


async def logs(host: Host, out: Terminal, o: Any) -> None:
    wanted = {"name": o.name, "limit": o.limit}
    if not o.follow:
        out.result(await host.ask("logs", **wanted), looks.logs, nothing)
        return
    async for page in host.follow("logs", "text", "next", **wanted):
        out.result(page, looks.logs, nothing) if out.as_json else out.text(page["text"])


def nothing(page: dict[str, Any]) -> list[str]:
    """A log has no names or ids."""
    return []
