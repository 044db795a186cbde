"""Verbs that look things up: words in all that the hive keeps, and what operators did."""

from typing import Any

from . import looks
from .ends import USAGE, End
from .host import Host
from .terminal import Terminal

FILTERS = ("from", "to", "agent")


async def search(host: Host, out: Terminal, o: Any) -> None:
    if not o.words:
        await filters(host, out)
        return
    query = " ".join(o.words)
    found = await host.ask("search", query=query)
    while o.all and found["events"] and found["events"]["on"]:
        more = await host.ask("search", query=query, before=found["events"]["on"])
        more["events"]["looked"] += found["events"]["looked"]
        found |= {"hits": found["hits"] + more["hits"], "events": more["events"]}
    out.result(found, looks.found, lambda page: [hit["page"] for hit in page["hits"]])
    for sentence in looks.left_open(found):
        out.say(sentence)


async def filters(host: Host, out: Terminal) -> None:
    """What can be written as a filter, for a shell to complete."""
    if not out.quiet:
        raise End(USAGE, "search wants words; `hive search --help` says which filters there are.")
    names = [row["name"] for row in (await host.ask("list"))["agents"]]
    words = ["before:", *names, *(f"{name}:{who}" for name in FILTERS for who in ("operator", *names))]
    out.result({"words": words}, looks.nothing, lambda page: page["words"])


async def audit(host: Host, out: Terminal, o: Any) -> None:
    found = await host.ask("audit", target=o.name, limit=o.limit)
    out.result(found, looks.acts, lambda page: [row["id"] for row in page["acts"]])
