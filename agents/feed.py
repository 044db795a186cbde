"""What live pages are fed with: batches of events and parts of pages, read and rendered once, however many watch."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from django.template.loader import render_to_string

from broker.events import Subscription

from . import heads
from .lines import Line, line
from .models import Event

BATCH = 200
FRAME = 64 * 1024  # characters of a batch, about
BEHIND = 500  # more rows than this are passed over, and the page says so
STALE = 15.0  # seconds after which a part is rendered anew, should a wake-up have been lost


class Feed:
    """The events of one agent, or of all, as frames: a batch is read and rendered once, however many watch."""

    def __init__(self, agent: str | None = None):
        self.agent = agent
        self.topic = f"events:{agent}" if agent else "events"

    def rows(self) -> Any:
        return Event.objects.filter(agent=self.agent) if self.agent else Event.objects.all()

    def first(self, most: int = 50) -> dict[str, Any]:
        """For the first load: the newest events, and the cursor that the browser goes on from."""
        newest = list(self.rows().order_by("-id")[:most])[::-1]
        return self.shown(newest) | {"cursor": newest[-1].pk if newest else 0}

    def around(self, at: int = 0, before: int = 0, most: int = 50) -> dict[str, Any]:
        """Events of the past: those before a number, or those on both sides of one."""
        earlier = self.rows().filter(id__lt=before or at).order_by("-id")[: most if before else most // 2]
        later = [] if before else self.rows().filter(id__gte=at).order_by("id")[: most // 2]
        return self.shown([*earlier[::-1], *later]) | {"cursor": 0}

    def shown(self, events: list[Event]) -> dict[str, Any]:
        if self.agent:
            heads.mark(events)
        older = events[0].pk if events and self.rows().filter(id__lt=events[0].pk).exists() else 0
        return {"lines": [(event, line(event)) for event in events], "agent": self.agent, "older": older}

    def after(self, cursor: int) -> dict[str, Any]:
        """The next batch as a piece of a frame; {} when there is nothing new."""
        key = (self.agent, cursor)
        # Rows never change and only follow: what came after a cursor once comes after it for ever.
        if key not in BATCHES and (lines := self.batch(cursor)):
            html = render_to_string("agents/_events.html", {"lines": lines, "agent": self.agent})
            BATCHES[key] = {"rows": html, "last": lines[-1][0].pk}
            while len(BATCHES) > 16:
                BATCHES.popitem(last=False)
        return BATCHES.get(key, {})

    def batch(self, cursor: int) -> list[tuple[Event, Line]]:
        """At most BATCH rows, fewer when they are long."""
        lines: list[tuple[Event, Line]] = []
        size = 0
        for event in self.rows().filter(id__gt=cursor).order_by("id")[:BATCH].iterator(chunk_size=20):
            lines.append((event, line(event)))
            size += len(lines[-1][1].text) + len(lines[-1][1].detail)
            if size > FRAME:
                break
        if self.agent and lines:
            heads.mark([event for event, _ in lines], heads.turn_at(self.agent, cursor))
        return lines

    def skip(self, cursor: int) -> tuple[int, int]:
        """A cursor not further behind than BEHIND, and how many rows were passed over for it."""
        behind = self.rows().filter(id__gt=cursor)
        edge = behind.order_by("-id").values_list("id", flat=True)[BEHIND : BEHIND + 1].first()
        if edge is None:
            return cursor, 0
        return edge, behind.filter(id__lte=edge).count()


class NoFeed(Feed):
    """Of a page without a log."""

    def __init__(self, agent: str):
        self.agent, self.topic = agent, f"agent:{agent}"

    def after(self, cursor: int) -> dict[str, Any]:
        return {}

    def skip(self, cursor: int) -> tuple[int, int]:
        return cursor, 0


BATCHES: OrderedDict[tuple[str | None, int], dict[str, Any]] = OrderedDict()


class Part:
    """A piece of a page, rendered once per change, however many watch."""

    def __init__(self, render: Callable[[], str], *topics: str):
        self.render, self.topics = render, topics
        self.changed = Subscription(*topics)
        self.changed.woken.set()
        self.watchers = 0
        self.html, self.rendered_at = "", 0.0

    def __enter__(self) -> "Part":
        if not self.watchers:
            self.changed.__enter__().woken.set()
        self.watchers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.watchers -= 1
        if not self.watchers:
            self.changed.__exit__()

    def now(self) -> str:
        """Its HTML. Woken is cleared before the rows are read, so that a change meanwhile is seen the next time."""
        if self.changed.woken.is_set() or time.monotonic() - self.rendered_at > STALE:
            self.changed.woken.clear()
            self.rendered_at = time.monotonic()
            self.html = self.render()
        return self.html
