"""Logging an agent in to Claude: its link, the code for it, and what claude says. stdout has the link alone."""

import asyncio
import sys
from typing import Any

from . import looks
from .containers import name
from .ends import FAILED, TIMED_OUT, USAGE, End
from .host import LOOK, Host
from .terminal import Terminal

Row = dict[str, Any]


def code(given: str) -> str:
    """The argument, or the first line of stdin for `-`, which no list of processes shows."""
    return sys.stdin.readline().strip() if given == "-" else given


async def login(host: Host, out: Terminal, o: Any) -> None:
    if o.logout:
        return await logout(host, out, o)
    if o.code is None:
        return await begin(host, out, o)
    row = await host.ask("login_code", name=o.name, code=o.code)
    return finish(out, await later(host, row, "checking", o.timeout))


async def logout(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("logout", name=o.name), looks.login, name)


async def begin(host: Host, out: Terminal, o: Any) -> None:
    """Its link; and on a terminal the rest of it too."""
    row = await later(host, await host.ask("login", name=o.name), "starting", o.timeout)
    judge(row)
    if o.qr:
        from dashboard import qr  # it costs a command that prints JSON a tenth of its time

        out.say(qr.text(row["link"]))
    out.result(row, looks.login_link, lambda row: [row["link"]])
    if not out.asks() or out.as_json:
        out.say(f"Open it, sign in, and give the code that is shown there: `hive login {row['name']} --code CODE`.")
        return
    out.say("Open it, sign in, and paste the code that is shown there.")
    while row["state"] == "waiting":
        given = await out.ask("Code:")
        row = await host.ask("login_code", name=o.name, code=given)
        row = await later(host, row, "checking", o.timeout)
        if row["state"] == "waiting":
            out.say(row["words"])
    judge(row)
    out.say(f"{row['name']} is logged in: {row['account']}.")


async def later(host: Host, row: Row, state: str, seconds: float) -> Row:
    """The row once it has left that state."""
    try:
        async with asyncio.timeout(seconds):
            while row["state"] == state:
                await asyncio.sleep(LOOK)
                row = await host.ask("login_state", name=row["name"])
    except TimeoutError:
        raise End(TIMED_OUT, f"{row['name']} has not answered: its page shows how its login goes on.") from None
    return row


def finish(out: Terminal, row: Row) -> None:
    judge(row)
    out.result(row, looks.login, name)
    if row["state"] == "waiting":
        raise End(USAGE, row["words"])


def judge(row: Row) -> None:
    if row["state"] in ("failed", ""):
        raise End(FAILED, f"{row['name']} is not logged in: {row['words'] or 'the login was called off.'}")
