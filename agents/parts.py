"""What an agent's page shows: part -> rows -> HTML, the same on first load and live."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import Q
from django.template.loader import render_to_string

from broker.models import Mailbox, Message

from .feed import Part
from .models import Turn

# How many of the hive's newest messages are looked through for one agent's.
RECENT = 20_000


def hero(name: str) -> dict[str, Any]:
    return {"name": name}


def turns(name: str) -> dict[str, Any]:
    return {"turns": Turn.objects.filter(agent=name).order_by("-number")[:30]}


def flow(name: str) -> dict[str, Any]:
    newest = Message.objects.order_by("-id").values_list("id", flat=True).first() or 0
    mine = Message.objects.filter(Q(recipient=name) | Q(sender=name), id__gt=newest - RECENT)
    return {"flow": mine.order_by("-id")[:30]} | roles()


def roles() -> dict[str, Any]:
    return {"managers": set(Mailbox.objects.filter(role="manager").values_list("name", flat=True))}


# Part of the page -> its rows, and the topics that change them ({} stands for the agent's name).
ROWS: dict[str, tuple[Callable[[str], dict[str, Any]], tuple[str, ...]]] = {
    "hero": (hero, ("containers", "agent:{}")),
    "turns": (turns, ("agent:{}",)),
    "flow": (flow, ("messages",)),
}


def page(name: str) -> dict[str, Any]:
    """Everything for the first load."""
    context = {"open": Mailbox.objects.filter(name=name, open=True).exists()}
    for rows, _ in ROWS.values():
        context |= rows(name)
    return context


def live(name: str) -> dict[str, Part]:
    return {
        part: Part(partial(html, part, name), *(topic.format(name) for topic in topics))
        for part, (_, topics) in ROWS.items()
    }


def html(part: str, name: str) -> str:
    return render_to_string(f"agents/_{part}.html", ROWS[part][0](name))
