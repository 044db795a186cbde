"""`hive export KIND`: everything of a kind, oldest first, page by page, so that no size of hive is too large for it.

A page comes after a cursor, so a hive that restarts in the middle costs nothing and doubles nothing.
"""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.clean import clean, fenced

from .ends import USAGE, End
from .host import Host
from .looks import told
from .since import lasted
from .terminal import Terminal, to_json, write

Row = dict[str, Any]

PAGE = 200
# What a spreadsheet takes for a formula (OWASP, CSV injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def export(host: Host, out: Terminal, o: Any) -> None:
    if o.format == "md" and o.kind != "turns":
        raise End(USAGE, "md is for turns: hive export turns --agent NAME --format md.")
    since = (datetime.now(UTC) - timedelta(seconds=o.since)).isoformat() if o.since is not None else ""
    form = FORMS[o.format]()
    count = 0
    with out.progress("export") as tell:
        async for row in KINDS[o.kind](host, o.agent, o.format == "md"):
            if moment(row) < since:
                continue
            for line in form(row):
                write(line)
            count += 1
            if count % PAGE == 0:
                tell(f"{count} {o.kind}")
    if count == 0:
        out.say("nothing to export")


def moment(row: Row) -> str:
    """When it was: ISO times in UTC compare as text."""
    return row.get("created_at") or row.get("at") or row.get("started_at") or ""


# ---- what there is ----------------------------------------------------------------------------------------------------


async def pages(host: Host, verb: str, key: str, **params: Any) -> AsyncIterator[Row]:
    after = 0
    while True:
        page = await host.ask(verb, after=after, limit=PAGE, **params)
        for row in page[key]:
            yield row
        if not page[key]:
            return
        after = page["last"]


async def messages(host: Host, agent: str | None, whole: bool) -> AsyncIterator[Row]:
    async for row in pages(host, "messages", "messages"):
        if agent in (None, row["sender"], row["recipient"]):
            yield row


async def approvals(host: Host, agent: str | None, whole: bool) -> AsyncIterator[Row]:
    async for row in pages(host, "approvals", "approvals", state="all"):
        if agent in (None, row["agent"]):
            yield row


async def events(host: Host, agent: str | None, whole: bool) -> AsyncIterator[Row]:
    for name in await names(host, agent):
        async for row in pages(host, "events", "events", name=name):
            yield row


async def turns(host: Host, agent: str | None, whole: bool) -> AsyncIterator[Row]:
    """With `whole` each turn has its events."""
    for name in await names(host, agent):
        said = events(host, name, False)
        waiting: list[Row] = []
        async for turn in pages(host, "turns", "turns", name=name):
            row = {"agent": name} | turn
            yield row | {"events": await of_turn(said, waiting, turn["id"])} if whole else row


async def of_turn(events: AsyncIterator[Row], waiting: list[Row], turn: str) -> list[Row]:
    """The next events that belong to a turn; what is read beyond them waits for the next one."""
    mine: list[Row] = []
    while True:
        row = waiting.pop() if waiting else await anext(events, None)
        if row is None:
            return mine
        if row["turn"] == turn:
            mine.append(row)
        elif mine and row["turn"]:
            waiting.append(row)
            return mine


async def names(host: Host, agent: str | None) -> list[str]:
    return [agent] if agent else [row["name"] for row in (await host.ask("list"))["agents"]]


KINDS = {"messages": messages, "events": events, "approvals": approvals, "turns": turns}


# ---- how it is written ------------------------------------------------------------------------------------------------


def ndjson() -> Callable[[Row], Iterator[str]]:
    def lines(row: Row) -> Iterator[str]:
        yield to_json(row)

    return lines


def as_csv() -> Callable[[Row], Iterator[str]]:
    columns: list[str] = []

    def lines(row: Row) -> Iterator[str]:
        if not columns:
            columns.extend(row)
            yield one_record(columns)
        yield one_record([cell(row.get(name)) for name in columns])

    return lines


def one_record(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def cell(value: Any) -> str:
    """Cleaned, and no formula: a number stays one, a text that begins like a formula is set off by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return to_json({"": value})[len('{"schema":1,"":') : -1]
    text = clean(str(value))
    return "'" + text if isinstance(value, str) and text.startswith(FORMULA) else text


def markdown() -> Callable[[Row], Iterator[str]]:
    def lines(turn: Row) -> Iterator[str]:
        took = lasted(turn["started_at"], turn["ended_at"])
        facts = (turn["started_at"], took, turn["outcome"] or "running", f"{turn['cost_usd']:.4f} USD", turn["model"])
        yield f"## {turn['agent']}, turn {turn['number']}\n"
        yield clean(" · ".join(fact for fact in facts if fact)) + "\n"
        for event in turn["events"]:
            if text := clean(told(event)).strip():
                yield f"**{clean(event['kind'])}**\n\n{fenced(text)}\n"

    return lines


FORMS = {"ndjson": ndjson, "csv": as_csv, "md": markdown}
