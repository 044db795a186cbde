"""Verbs on the hive as a whole: run one, watch a demonstration, keep it tidy."""

from pathlib import Path
from typing import Any

from . import looks
from .host import Host
from .terminal import Terminal


def serve(o: Any) -> int:
    from hyperhive import daemon

    return daemon.serve(bind=o.bind, driver=o.driver, trust_agents=o.trust_agents, stop_agents=o.stop_agents)


def demo(o: Any) -> int:
    from hyperhive.demo import tour

    return tour.run(o)


async def link(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("link"), looks.link, lambda result: [result["url"]])


async def vacuum(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("vacuum"), looks.vacuumed, lambda result: [result["deleted"]])


async def backup(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("backup", path=o.path), looks.backed_up, lambda result: [result["path"]])


def restore(o: Any) -> None:
    """No hive runs, so it is done here."""
    from hyperhive.restore import restore

    done = restore(Path(o.path))
    Terminal(o.json, o.quiet).result(done, looks.restored, lambda result: [result["restored"]])
