"""`hive top`: the hive on one screen, every second; it only looks."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from . import looks
from .ends import USAGE, End
from .host import Host
from .terminal import Table, Terminal, drawn

EVERY = 1.0  # seconds
MESSAGES = 8


async def top(host: Host, out: Terminal, o: Any) -> None:
    if out.as_json or out.quiet:
        raise End(USAGE, "top is for people: programs ask `hive list --json` and `hive approvals --json`.")
    if o.once:
        for block in screen(await facts(host)):
            out.block(block)
        return
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise End(USAGE, "top needs a terminal: `hive top --once` prints it once.")
    await watch(host)


async def facts(host: Host) -> dict[str, Any]:
    return {
        "agents": (await host.ask("list"))["agents"],
        "approvals": (await host.ask("approvals"))["approvals"],
        "messages": (await host.ask("messages", limit=MESSAGES))["messages"][::-1],
    }


def screen(found: dict[str, Any]) -> Iterator[str | Table]:
    agents = found["agents"]
    up = sum(row["state"] != "offline" for row in agents)
    thinking = sum(row["state"] == "thinking" for row in agents)
    waiting = sum(row["inbox"] for row in agents)
    yield (
        f"{datetime.now(UTC):%H:%M:%S} UTC · {up} of {len(agents)} up · {thinking} thinking · {waiting} messages wait · "
        f"{len(found['approvals'])} wait for you"
    )
    yield ""
    yield from looks.agents(found)
    if found["approvals"]:
        yield ""
        yield from looks.approvals(found)
    if found["messages"]:
        yield ""
        yield from looks.messages(found)


async def watch(host: Host) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    with keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                blocks = list(screen(await facts(host)))
            except TimeoutError:
                blocks = ["the hive does not answer"]
            live.update(Group(*(drawn(block) for block in [*blocks, "", "q ends it"])), refresh=True)
            with contextlib.suppress(TimeoutError):
                if await asyncio.wait_for(pressed.get(), EVERY) in ("q", "Q", "\x04", ""):
                    return


@contextlib.contextmanager
def keys() -> Iterator[asyncio.Queue[str]]:
    """Keys as they are pressed, without Enter; the terminal is left as it was."""
    before, loop, pressed = termios.tcgetattr(sys.stdin), asyncio.get_running_loop(), asyncio.Queue[str]()
    try:
        tty.setcbreak(sys.stdin)
        loop.add_reader(sys.stdin, lambda: pressed.put_nowait(os.read(sys.stdin.fileno(), 1).decode(errors="replace")))
        yield pressed
    finally:
        loop.remove_reader(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
