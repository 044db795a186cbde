"""Waiting until a container is where it was sent, telling each step as it comes."""

import asyncio
from typing import Any

from broker.wire import Refused

from .ends import FAILED, TIMED_OUT, End
from .host import Host
from .terminal import Terminal

LOOK = 0.15  # seconds between two looks at the row
SETTLED = {"running", "stopped", "failing", "destroyed"}
# Verb -> the status that it wants.
WANTED = {
    "spawn": "running",
    "start": "running",
    "restart": "running",
    "rebuild": "running",
    "stop": "stopped",
    "kill": "stopped",
    "destroy": "destroyed",
}

Row = dict[str, Any]


async def settled(host: Host, out: Terminal, row: Row, seconds: float) -> Row:
    """The row once nothing is under way any more."""
    try:
        async with asyncio.timeout(seconds):
            with out.progress(row["name"]) as tell:
                while row.get("op") or row.get("due") or row["status"] not in SETTLED:
                    tell(row.get("step") or "")
                    await asyncio.sleep(LOOK)
                    row = await _look(host, row)
    except TimeoutError:
        doing = f" ({row['step']})" if row.get("step") else ""
        sentence = f"{row['name']} is not done after {seconds:g} s{doing}. It goes on: `hive status {row['name']}`."
        raise End(TIMED_OUT, sentence) from None
    return row


async def _look(host: Host, before: Row) -> Row:
    """The row as it is now. A purged one tells for a moment what was removed, then there is none: what it told is kept."""
    try:
        row = await host.ask("status", name=before["name"])
    except Refused as refusal:
        if refusal.kind != "not_found":
            raise
        return before | {"status": "destroyed", "op": "", "step": ""}
    return row | {"purged": row.get("purged") or before.get("purged") or []}


def judge(verb: str, row: Row) -> None:
    """End(FAILED) unless the verb got what it wanted."""
    name, status = row["name"], row["status"]
    if status == WANTED[verb] and not row.get("error"):
        return
    error = f": {row['error'].rstrip('.')}" if row.get("error") else ""
    raise End(FAILED, f"{name} is {status}{error}. `hive logs {name}` shows what it wrote.")
