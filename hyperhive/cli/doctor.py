"""`hive doctor`: asked of the hive that runs or, where none does, of this machine."""

import asyncio
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from broker.wire import Unreachable

from .ends import FAILED
from .host import Host
from .terminal import Block, Cell, Table, Terminal

# State of a finding -> glyph and style.
STATES = {"ok": ("✔", "green"), "note": ("·", "yellow"), "mend": ("✖", "red")}
NARROW, MARGIN = 40, 2


async def doctor(host: Host, out: Terminal, o: Any) -> int:
    """FAILED when something has to be mended."""
    found = await asked(host)
    out.result(found, look, lambda result: [one["check"] for one in result["checks"] if one["state"] == "mend"])
    return 0 if found["ok"] else FAILED


async def asked(host: Host) -> dict[str, Any]:
    try:
        return await host.ask("doctor")
    except Unreachable:
        from hyperhive import doctor

        return await asyncio.to_thread(doctor.examine, running=False)


def look(result: dict[str, Any]) -> list[Block]:
    mends = sum(one["state"] == "mend" for one in result["checks"])
    hive = "a hive is running" if result["running"] else "no hive is running"
    end = f"{mends} to mend" if mends else "nothing to mend"
    table = Table(("", "CHECK", "FOUND"), [row for one in result["checks"] for row in rows(one)])
    return [table, f"hyperhive {result['version']}, {hive}, isolation level {result['level']}: {end}"]


def rows(one: dict[str, Any]) -> Iterator[tuple[Cell, ...]]:
    """A finding and, below it, what mends it; both in as many lines as the terminal needs."""
    glyph, style = STATES.get(one["state"], ("?", ""))
    head: tuple[Cell, ...] = ((glyph, style), one["check"])
    for line in wrapped(one["found"]):
        yield *head, (line, "dim" if one["state"] == "note" else "")
        head = ("", "")
    for number, line in enumerate(wrapped(one["fix"])):
        yield "", "", (("→ " if not number else "  ") + line, "bold" if one["state"] == "mend" else "dim")


def wrapped(text: str) -> list[str]:
    if not sys.stdout.isatty():
        return [text] if text else []
    width = shutil.get_terminal_size().columns - len("x  isolation      → ") - MARGIN
    return textwrap.wrap(text, max(NARROW, width), break_on_hyphens=False)
