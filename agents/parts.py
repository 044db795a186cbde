"""What an agent's pages show: part -> rows -> HTML, the same on first load and live."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse

from broker.models import Mailbox, Message

from .feed import Feed, Part
from .models import Event, Login, Turn

# How many of the hive's newest messages are looked through for one agent's.
RECENT = 20_000
TURNS, MESSAGES = 30, 50

# The pages of an agent, each an address of its own, and how the word is painted.
TABS = {
    "live": "L1VE",
    "inbox": "1NBOX",
    "notes": "N0TES",
    "config": "C0NF1G",
    "turns": "TURN5",
    "login": "L0G1N",
    "vitals": "V1TALS",
}
# What the live log can leave out: the looks of agents.lines.
GROUPS = ("text", "tool", "result", "other")


def only_name(name: str) -> dict[str, Any]:
    return {"name": name}


def turns(name: str, before: int = 0) -> dict[str, Any]:
    """The newest first, or those before a number."""
    older = {"number__lt": before} if before else {}
    found = list(Turn.objects.filter(agent=name, **older).order_by("-number")[: TURNS + 1])
    return {"name": name, "turns": found[:TURNS], "older_turns": found[TURNS - 1].number if len(found) > TURNS else 0}


def flow(name: str) -> dict[str, Any]:
    """What waits for it, the oldest first, then the newest of what it was sent and has sent."""
    waiting = Message.objects.filter(recipient=name).extra(where=["state = 'queued'"]).order_by("id")[:MESSAGES]
    newest = Message.objects.order_by("-id").values_list("id", flat=True).first() or 0
    mine = Message.objects.filter(Q(recipient=name) | Q(sender=name), id__gt=newest - RECENT)
    rest = mine.exclude(recipient=name, state="queued").order_by("-id")[:MESSAGES]
    return {"flow": [*waiting, *rest]} | roles()


def login(name: str) -> dict[str, Any]:
    return {"name": name, "login": Login.of(name)}


def roles() -> dict[str, Any]:
    return {"managers": set(Mailbox.objects.filter(role="manager").values_list("name", flat=True))}


# Part of the pages -> its rows, and the topics that change them ({} stands for the agent's name).
ROWS: dict[str, tuple[Callable[[str], dict[str, Any]], tuple[str, ...]]] = {
    "hero": (only_name, ("containers", "agent:{}")),
    "heads": (turns, ("agent:{}",)),
    "turns": (turns, ("agent:{}",)),
    "flow": (flow, ("messages",)),
    "login": (login, ("agent:{}",)),
    "vitals": (only_name, ("vitals", "agent:{}")),
    "asks": (only_name, ("approvals",)),
    "counts": (only_name, ("messages", "approvals", "agent:{}")),
}
# Page -> the parts that it has, besides the head of all.
PARTS = {
    "live": ("counts", "heads", "flow", "vitals", "asks"),
    "inbox": ("counts", "flow"),
    "notes": ("counts",),
    "config": ("counts",),
    "turns": ("counts", "turns"),
    "login": ("counts", "login"),
    "vitals": ("counts", "vitals"),
}


def frame(name: str, tab: str) -> dict[str, Any]:
    """What every page of an agent has around it."""
    tabs = [
        (word, paint, reverse("agent" if word == "live" else f"agent-{word}", args=[name]))
        for word, paint in TABS.items()
    ]
    cursor = Event.objects.filter(agent=name).order_by("-id").values_list("id", flat=True).first() or 0
    open_ = Mailbox.objects.filter(name=name, open=True).exists()
    return {"name": name, "tab": tab, "tabs": tabs, "live": True, "cursor": cursor, "open": open_, "agent": name}


def page(name: str, tab: str) -> dict[str, Any]:
    """Everything for the first load."""
    context = frame(name, tab)
    for part in PARTS.get(tab, ()):
        context |= ROWS[part][0](name)
    if tab == "live":
        context |= Feed(name).first() | {"groups": GROUPS}
    return context


@lru_cache(256)
def live(name: str) -> dict[str, Part]:
    """Shared by everybody who watches that agent, so that a change is rendered once."""
    return {
        part: Part(partial(html, part, name), *(topic.format(name) for topic in topics))
        for part, (_, topics) in ROWS.items()
    }


def html(part: str, name: str) -> str:
    return render_to_string(f"agents/_{part}.html", ROWS[part][0](name))
