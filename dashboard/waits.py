"""What waits for the operator right now: requests, letters, agents that fail or need a login."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Min

from approvals.models import Approval
from broker.clean import clean
from broker.models import Message
from lifecycle.models import Container

from . import parts

MOST, WORDS = 100, 200


class Wait(NamedTuple):
    """One thing that waits. Its key stays the same as long as it does."""

    key: str
    kind: str
    agent: str
    since: datetime
    words: str
    page: str  # where to look at it


def approvals() -> Iterator[Wait]:
    for row in Approval.pending()[:MOST]:
        words = f"#{row.pk} {row.get_kind_display()} {row.agent}, asked by {row.requested_by}: {row.why}"
        yield wait(f"approval-{row.pk}", "approval", row.agent, row.created_at, words, "/#approvals")


def letters() -> Iterator[Wait]:
    """One per sender, as long as any of theirs is unread: nobody can flood a telephone."""
    unread = parts.unread().order_by().values("sender").annotate(first=Min("pk"), count=Count("pk")).order_by("first")
    for row in unread[:MOST]:
        letter = Message.objects.get(pk=row["first"])
        more = f" (and {row['count'] - 1} more)" if row["count"] > 1 else ""
        words = f"{letter.sender} wrote to you{more}: {letter.body[: 2 * WORDS]}"
        yield wait(f"letter-{letter.pk}", "letter", letter.sender, letter.created_at, words, "/#inbox")


def agents() -> Iterator[Wait]:
    for row, state, since, why in states():
        if state in SAID:
            words = f"{row.name} {SAID[state]}" + (f": {why}" if why else ".")
            yield wait(f"{state}-{row.name}", state, row.name, since, words, f"/agents/{row.name}/")


SAID = {"failing": "is failing", "login": "needs a login"}
WAITS: tuple[Callable[[], Iterator[Wait]], ...] = (approvals, letters, agents)


def states() -> list[tuple[Container, str, datetime, str]]:
    return [(row, *row.state()) for row in parts.alive()]


def wait(key: str, kind: str, agent: str, since: datetime, words: str, page: str) -> Wait:
    """Agents wrote most of the words: cleaned, on one line, and cut."""
    line = " ".join(clean(words).split())
    return Wait(key, kind, agent, since, line if len(line) <= WORDS else line[:WORDS] + "…", page)


def now() -> list[Wait]:
    return [one for some in WAITS for one in some()]


def icon(kinds: set[str]) -> str:
    """What a tab's icon shows."""
    return "failing" if "failing" in kinds else "waits" if kinds else "idle"


def as_json(one: Wait, place: str = "") -> dict[str, Any]:
    return {
        "key": one.key, "kind": one.kind, "agent": one.agent, "since": one.since.isoformat(), "text": one.words,
        "url": place + one.page,
    }  # fmt: skip
