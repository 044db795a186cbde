"""Verbs on the hive as a whole: run one, watch a demonstration, keep it tidy."""

from pathlib import Path
from typing import Any

from broker.wire import Unreachable
from hyperhive import __version__

from . import looks
from .ends import FAILED, USAGE, End
from .host import Host
from .terminal import Terminal


def serve(o: Any) -> int:
    from hyperhive import daemon

    return daemon.serve(bind=o.bind, driver=o.driver, trust_agents=o.trust_agents, stop_agents=o.stop_agents)


def demo(o: Any) -> int:
    from hyperhive.demo import tour

    return tour.run(o)


async def link(host: Host, out: Terminal, o: Any) -> None:
    found = await host.ask("link", user=o.name, role=o.role)
    if o.qr:
        from dashboard import qr  # only here: it costs the others nothing

        out.say(qr.text(found["url"]))
    out.result(found, looks.link, lambda result: [result["url"]])


async def users(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("users"), looks.users, lambda page: [row["name"] for row in page["users"]])


async def user(host: Host, out: Terminal, o: Any) -> None:
    if (o.act == "add") != (o.role is not None):
        raise End(USAGE, "Give a user to be added a --role, and one to be removed none.")
    row = await host.ask(f"user_{o.act}", name=o.name, role=o.role)
    out.result(row, looks.user, lambda row: [row["name"]])


async def mute(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("mute", hours=o.time), looks.muted, lambda row: [row["muted_until"] or "off"])


async def notify(host: Host, out: Terminal, o: Any) -> int:
    """FAILED when a place could not be told."""
    found = await host.ask("notify")
    out.result(found, looks.told_outside, lambda page: [row["target"] for row in page["told"] if not row["error"]])
    return FAILED if any(row["error"] for row in found["told"]) else 0


async def version(host: Host, out: Terminal, o: Any) -> None:
    """Without a hive that runs, that is no failure."""
    try:
        runs = await host.ask("about")
    except Unreachable:
        runs = None
    out.result({"version": __version__, "runs": runs}, looks.version, lambda result: [result["version"]])


async def vacuum(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("vacuum"), looks.vacuumed, lambda result: [result["deleted"]])


async def backup(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("backup", path=o.path), looks.backed_up, lambda result: [result["path"]])


def restore(o: Any) -> None:
    """No hive runs, so it is done here."""
    from hyperhive.restore import restore

    done = restore(Path(o.path))
    Terminal(o.json, o.quiet).result(done, looks.restored, lambda result: [result["restored"]])
