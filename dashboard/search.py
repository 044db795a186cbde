"""Search: `word -without "a phrase" from:scout to:hm1nd agent:scout before:2026-11-20`, over all that the hive keeps.

Whatever is typed is a search: what SQLite would take for syntax is quoted, what is no filter is a word.
"""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils import timezone

from agents.lines import line
from agents.models import Event
from approvals.models import Approval
from broker import hot
from broker.models import Message
from lifecycle.models import Container

from . import indexing, parts

MOST = 20  # of a group
TERMS, LENGTH = 16, 100  # more words than these are not looked for, nor longer ones
# Events have no index of words: so many are looked through at once, and the next as long as less than so many seconds went by.
BATCH, TIME = 5_000, 0.5
AROUND = 70  # characters shown on either side of what was found

TOKEN = re.compile(r'(?P<minus>-?)(?:(?P<filter>from|to|agent|before):)?(?P<word>"[^"]*"?|\S+)', re.IGNORECASE)
AGES = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Query(NamedTuple):
    """What was typed: words that must be there, words that must not, and the filters."""

    words: list[str]
    without: list[str]
    filters: dict[str, str]
    before: datetime | None = None
    hint: str = ""

    def __bool__(self) -> bool:
        return bool(self.words or self.filters or self.before)


class Hit(NamedTuple):
    """One line of the answer; `text` is what stands before, in and behind what was found."""

    href: str
    title: str
    text: tuple[str, str, str]
    at: datetime | None = None


class Reach(NamedTuple):
    """How many events were looked through, the newest first, back to when, and the number to go on before (0: that was all)."""

    looked: int
    back_to: datetime | None
    on: int


class Found(NamedTuple):
    """Each group with what was found in it, the empty ones left out; `reach` is None where no events were asked for."""

    groups: list[tuple[str, list[Hit]]]
    reach: Reach | None = None
    behind: bool = False  # some messages have not been taken in yet

    def as_json(self) -> dict[str, Any]:
        events = self.reach and self.reach._asdict() | {"back_to": written(self.reach.back_to)}
        hits = [hit_json(group, hit) for group, hits in self.groups for hit in hits]
        return {"hits": hits, "events": events, "behind": self.behind}


def hit_json(group: str, hit: Hit) -> dict[str, Any]:
    return {"kind": group, "title": hit.title, "text": "".join(hit.text), "at": written(hit.at), "page": hit.href}


def written(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def parsed(typed: str) -> Query:
    words: list[str] = []
    without: list[str] = []
    filters: dict[str, str] = {}
    before, hint = None, ""
    for found in TOKEN.finditer("".join(c if c.isprintable() else " " for c in typed)):
        word = found["word"].strip('"')[:LENGTH]
        name = (found["filter"] or "").lower()
        if name == "before":
            before = moment(word)
            hint = "" if before else f"before: takes a day such as 2026-11-20, or an age such as 2d, not “{word}”."
        elif name:
            filters[name] = word.lower()
        elif any(c.isalnum() for c in word):
            (without if found["minus"] else words).append(word)
    return Query(words[:TERMS], without[:TERMS], filters, before, hint)


def moment(word: str) -> datetime | None:
    """A day or a time, in UTC where it does not say; or how long ago: 30m 6h 2d 1w."""
    if age := re.fullmatch(r"(\d{1,4})([mhdw])", word):
        return timezone.now() - timedelta(**{AGES[age[2]]: int(age[1])})
    try:
        at = datetime.fromisoformat(word)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# ---- messages ---------------------------------------------------------------------------------------------------------

FOUND = """
    SELECT message.id FROM dashboard_words JOIN broker_message AS message ON message.id = dashboard_words.rowid
    WHERE dashboard_words MATCH :match AND dashboard_words.rowid < :end
        AND (:sender = '' OR message.sender = :sender) AND (:recipient = '' OR message.recipient = :recipient)
        AND (:agent = '' OR :agent IN (message.sender, message.recipient))
    ORDER BY dashboard_words.rowid DESC LIMIT :most
"""
LAST = 2**63 - 1


def messages(query: Query) -> list[Hit]:
    end = first_since(query.before) if query.before else LAST
    if match := matching(query):
        names = {"sender": "from", "recipient": "to", "agent": "agent"}
        wanted = {name: query.filters.get(key, "") for name, key in names.items()}
        ids = [id_ for (id_,) in hot.rows(FOUND, match=match, end=end, most=MOST, **wanted)]
    else:
        ids = list(Message.objects.filter(pk__lt=end).order_by("-pk").values_list("pk", flat=True)[:MOST])
    found = Message.objects.filter(pk__in=ids).order_by("-pk")
    return [
        Hit(
            reverse("message", args=[row.pk]),
            f"#{row.pk} {row.sender} → {row.recipient}",
            around(row.body, query.words),
            row.created_at,
        )
        for row in found
    ]


def matching(query: Query) -> str:
    """The query in FTS5's own words (sqlite.org/fts5.html §3); '' when there is nothing that it could look up."""
    wanted = [f"{{body}} : {quoted(word)}" for word in query.words[:-1]]
    # The last word is perhaps still being typed.
    wanted += [f"{{body}} : {quoted(word)} *" for word in query.words[-1:]]
    for name, columns in (("from", "sender"), ("to", "recipient"), ("agent", "sender recipient")):
        if any(c.isalnum() for c in query.filters.get(name, "")):
            wanted.append(f"{{{columns}}} : {quoted(query.filters[name])}")
    if not wanted:
        return ""
    return " NOT ".join([f"({' AND '.join(wanted)})", *(f"({{body}} : {quoted(word)})" for word in query.without)])


def quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def first_since(at: datetime) -> int:
    """The first message of that time or later, by halving: times have no index, but they rise with the ids."""
    newest = Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    low, high = 0, newest + 1
    while low < high:
        middle = (low + high) // 2
        row = Message.objects.filter(pk__gte=middle).order_by("pk").values_list("created_at", flat=True).first()
        if row is None or row >= at:
            high = middle
        else:
            low = middle + 1
    return low


# ---- the others -------------------------------------------------------------------------------------------------------


def agents(query: Query) -> list[Hit]:
    rows = Container.objects.exclude(status=Container.Status.DESTROYED).order_by("-role", "name")
    if name := query.filters.get("agent"):
        rows = rows.filter(name=name)
    for word in query.words:
        rows = rows.filter(Q(name__icontains=word) | Q(role__icontains=word))
    for word in query.without:
        rows = rows.exclude(name__icontains=word)
    return [Hit(reverse("agent", args=[row.name]), row.name, around(row.role, query.words)) for row in rows[:MOST]]


def approvals(query: Query) -> list[Hit]:
    rows = Approval.objects.order_by("-pk")
    for column, name in (("agent", "agent"), ("requested_by", "from")):
        if name in query.filters:
            rows = rows.filter(**{column: query.filters[name]})
    if query.before:
        rows = rows.filter(created_at__lt=query.before)
    for word in query.words:
        rows = rows.filter(says(word))
    for word in query.without:
        rows = rows.exclude(says(word))
    return [
        Hit(
            f"{reverse('approvals')}?before={row.pk + 1}#approval-{row.pk}",
            f"#{row.pk} {row.get_kind_display()} {row.agent} · {row.get_state_display()}",
            around(f"{row.why} {row.reason}", query.words),
            row.created_at,
        )
        for row in rows[:MOST]
    ]


def says(word: str) -> Q:
    columns = ("agent", "why", "content", "reason", "error")
    return Q(*((f"{column}__icontains", word) for column in columns), _connector=Q.OR)


def events(query: Query, before: int = 0) -> tuple[list[Hit], Reach]:
    """Batch by batch into the past, until enough is found, time is up or there are no more."""
    rows = Event.objects.order_by("-pk")
    if name := query.filters.get("agent") or query.filters.get("from"):
        rows = rows.filter(agent=name)
    hits: list[Hit] = []
    looked, edge, until = 0, before or LAST, time.monotonic() + TIME
    while batch := list(rows.filter(pk__lt=edge).values_list("pk", flat=True)[:BATCH]):
        for row in likely(rows.filter(pk__lt=edge), query).iterator(chunk_size=50):
            hits += [event_hit(row, query)] if fits(row, query) else []
            if len(hits) == MOST or time.monotonic() > until:
                looked += sum(pk >= row.pk for pk in batch)
                return hits, Reach(looked, row.at, row.pk)
        looked, edge = looked + len(batch), batch[-1]
        if time.monotonic() > until:
            return hits, Reach(looked, Event.objects.get(pk=edge).at, edge)
    return hits, Reach(looked, None, 0)


def likely(rows: QuerySet[Event], query: Query) -> QuerySet[Event]:
    """Those of the next batch whose JSON has the words, in which what is not ASCII is written out; its keys count too."""
    rows = Event.objects.filter(pk__in=rows.values("pk")[:BATCH]).order_by("-pk")
    if query.before:
        rows = rows.filter(at__lt=query.before)
    rows = rows.annotate(text=Cast(F("payload"), TextField()))
    for word in query.words:
        rows = rows.filter(text__icontains=json.dumps(word)[1:-1])
    return rows


def fits(row: Event, query: Query) -> bool:
    said = told(row.payload).lower()
    return all(word.lower() in said for word in query.words) and not any(word.lower() in said for word in query.without)


def told(payload: Any) -> str:
    """All that an event says, a line for each value; however deep it lies."""
    left, found = [payload], []
    while left:
        one = left.pop()
        if isinstance(one, dict | list):
            left += one.values() if isinstance(one, dict) else one
        else:
            found.append(str(one))
    return "\n".join(found)


def event_hit(row: Event, query: Query) -> Hit:
    shown = line(row)
    text = f"{shown.text} {shown.detail}"
    if query.words and not any(word.lower() in text.lower() for word in query.words):
        text = told(row.payload)
    href = f"{reverse('agent', args=[row.agent])}?at={row.pk}#event-{row.pk}"
    return Hit(href, f"{row.agent} · {shown.label}", around(text, query.words), row.at)


# Group -> how it is looked through, and the filters that it knows; a filter that it does not know leaves it out.
GROUPS: dict[str, tuple[Callable[[Query], list[Hit]], set[str]]] = {
    "agents": (agents, {"agent"}),
    "messages": (messages, {"from", "to", "agent"}),
    "approvals": (approvals, {"from", "agent"}),
}
OF_EVENTS = {"from", "agent"}


def found(query: Query, before: int = 0) -> Found:
    """With `before` events alone, and only those before that number."""
    if not query:
        return Found([])
    wanted = {} if before else GROUPS
    groups = [(name, look(query)) for name, (look, knows) in wanted.items() if query.filters.keys() <= knows]
    reach = None
    if query.filters.keys() <= OF_EVENTS:
        hits, reach = events(query, before)
        groups.append(("events", hits))
    return Found([(name, hits) for name, hits in groups if hits], reach, indexing.behind())


def around(text: str, words: list[str]) -> tuple[str, str, str]:
    """What stands before, in and behind the first word that is found."""
    text = " ".join(text.split())
    lower = text.lower()
    for word in words:
        if (at := lower.find(word.lower())) >= 0:
            start, end = max(0, at - AROUND), at + len(word)
            return ("…" if start else "") + text[start:at], text[at:end], text[end : end + 2 * AROUND]
    return text[: 2 * AROUND], "", ""


# ---- where one may go -------------------------------------------------------------------------------------------------

# Plain words -> address, of what is looked for by its name.
PLACES = {
    "hive": "/",
    "what waits for you": "/#approvals",
    "containers": "/#containers",
    "messages": "/#messages",
    "events": "/#events",
    "jobs": "/#jobs",
    "history of decisions": "/approvals",
    "who did what": "/audit",
    "spawn an agent": "/ask/spawn",
    "panic: stop every turn": "/ask/panic",
}


def places(typed: str) -> list[tuple[str, str]]:
    """Pages, agents and what can be done with them, by their plain names, for the list on Ctrl K: words and address."""
    words = typed.lower().split()
    known = dict(PLACES)
    for row in parts.alive() if words else []:
        known[row.name] = reverse("agent", args=[row.name])
        known |= {f"{verb} {row.name}": reverse("ask", args=[row.name, verb]) for verb in parts.acts(row, whole=True)}
    return [(name, href) for name, href in known.items() if all(word in name for word in words)][:10]
