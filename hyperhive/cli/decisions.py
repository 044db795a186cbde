"""Verbs on approvals: see what waits, see all of it, say yes to exactly that, or no."""

import asyncio
from typing import Any

from . import looks
from .ends import FAILED, TIMED_OUT, End
from .host import Host
from .talk import id_
from .terminal import Terminal
from .waiting import LOOK


async def approvals(host: Host, out: Terminal, o: Any) -> None:
    found = await host.ask("approvals", state="all" if o.all else "pending")
    out.result(found, looks.approvals, lambda page: [row["id"] for row in page["approvals"]])


async def show(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("show", id=o.id), looks.approval, id_)


async def history(host: Host, out: Terminal, o: Any) -> None:
    found = await host.ask("history", name=o.name)
    out.result(found, looks.history, lambda page: [row["rev"] for row in page["history"]])


async def rollback(host: Host, out: Terminal, o: Any) -> None:
    """It is an approval like any other, approved by being asked for; it is waited for like one."""
    row = await host.ask("rollback", name=o.name, rev=o.rev)
    out.show(looks.difference(row))
    if o.wait:
        row = await carried_out(host, out, row, o.timeout)
    out.result(row, looks.decided, id_)
    if row["state"] == "failed":
        raise End(FAILED, f"{row['agent']}: {row['error']}")


async def carried_out(host: Host, out: Terminal, row: dict[str, Any], seconds: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            with out.progress(row["agent"]) as tell:
                while row["state"] in ("approved", "applying"):
                    tell(row["doing"])
                    await asyncio.sleep(LOOK)
                    row = await host.ask("show", id=row["id"])
    except TimeoutError:
        raise End(TIMED_OUT, f"#{row['id']} is still {row['state']}. It goes on: `hive show {row['id']}`.") from None
    return row


async def approve(host: Host, out: Terminal, o: Any) -> None:
    """Yes to what was shown here, by its sha256: had it changed meanwhile, the host refuses."""
    seen = await host.ask("show", id=o.id)
    out.show(looks.approval(seen))
    if seen["state"] == "pending" and out.asks() and not o.yes:
        await agreed(out)
    out.result(await host.ask("approve", id=o.id, sha256=seen["sha256"]), looks.decided, id_)


async def agreed(out: Terminal) -> None:
    if (await out.ask("Approve this? [y/N]")).lower() not in ("y", "yes"):
        raise End(FAILED, "Nothing was decided.")


async def deny(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("deny", id=o.id, reason=o.reason), looks.decided, id_)
