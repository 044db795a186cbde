"""What the dashboard shows: part -> rows -> HTML, the same on first load and live."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from agents.feed import Feed, Part
from agents.models import Turn
from agents.parts import roles
from approvals.models import Approval
from broker.models import HIVE, OPERATOR, Mailbox, Message
from lifecycle import isolation
from lifecycle.models import Container

SHOWN, DECIDED, DEAD, READ = 50, 3, 20, 5


# ---- rows -------------------------------------------------------------------------------------------------------------


def vitals() -> dict[str, Any]:
    pending = Approval.pending().aggregate(count=Count("pk"), oldest=Min("created_at"))
    waiting = queued().exclude(recipient=OPERATOR).aggregate(count=Count("pk"), oldest=Min("created_at"))
    states = [row.state()[0] for row in alive()]
    return {
        "agents": {
            "all": len(states),
            "up": sum(state != "offline" for state in states),
            "thinking": states.count("thinking"),
        },
        "pending": pending,
        "waiting": waiting,
        "unread_count": unread().count(),
        "today": today(),
    }


def today() -> dict[str, Any]:
    """The turns that began since midnight UTC."""
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    failed = Q(ended_at__isnull=False) & ~Q(outcome="ok")
    turns = Turn.objects.filter(started_at__gte=midnight)
    return turns.aggregate(count=Count("pk"), failed=Count("pk", filter=failed), cost=Sum("cost_usd", default=0))


def approvals() -> dict[str, Any]:
    """What waits, oldest first, then what was decided last, so that its outcome is seen."""
    decided = Approval.objects.exclude(state=Approval.State.PENDING).order_by("-decided_at")[:DECIDED]
    return {"approvals": [*Approval.pending(), *decided]}


def containers() -> dict[str, Any]:
    inboxes = dict(queued().values("recipient").annotate(count=Count("pk")).values_list("recipient", "count"))
    return {"containers": [container(row, inboxes.get(row.name, 0)) for row in alive()]}


def alive() -> QuerySet[Container]:
    return Container.objects.exclude(status=Container.Status.DESTROYED).order_by("-role", "name")


def container(row: Container, inbox: int) -> dict[str, Any]:
    state, since, why = row.state()
    return {"row": row, "state": state, "since": since, "why": why, "inbox": inbox, "acts": acts(row)}


def acts(row: Container) -> list[str]:
    """What can be done with an agent now."""
    if row.desired == Container.Desired.DESTROYED:
        return []
    if row.desired == Container.Desired.STOPPED:
        return ["start", "kill"] if row.op else ["start"]
    return ["resume" if row.paused else "pause", "restart", "stop", "kill"]


def inbox() -> dict[str, Any]:
    """What the operator has not read, oldest first, after the last few they have."""
    unseen = list(unread()[:SHOWN])
    old = Message.objects.filter(recipient=OPERATOR, state=Message.State.DELIVERED).order_by("-id")[:READ]
    upto = unseen[-1].pk if unseen else 0
    return {"unread": unseen, "upto": upto, "read": list(old)[::-1]} | roles()


def flow() -> dict[str, Any]:
    """The newest messages, newest first; what is dead stays on top until somebody decides."""
    dead = list(Message.objects.order_by("-id").extra(where=["state = 'dead'"])[:DEAD])
    newest = Message.objects.order_by("-id")[: SHOWN + len(dead)]
    rest = [message for message in newest if message.state != Message.State.DEAD][:SHOWN]
    return {"flow": dead + rest} | roles()


def queued() -> QuerySet[Message]:
    """A literal state: SQLite proves that the partial index serves only then (sqlite.org/partialindex.html)."""
    return Message.objects.extra(where=["state = 'queued'"]).order_by()


def unread() -> QuerySet[Message]:
    return queued().filter(recipient=OPERATOR).order_by("id")


# Part of the page -> its rows, and the topics that change them.
ROWS: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...]]] = {
    "vitals": (vitals, ("containers", "approvals", "messages", "turns")),
    "approvals": (approvals, ("approvals",)),
    "inbox": (inbox, ("messages",)),
    "containers": (containers, ("containers", "messages")),
    "flow": (flow, ("messages",)),
}


# ---- HTML -------------------------------------------------------------------------------------------------------------


def page() -> dict[str, Any]:
    """Everything for the first load."""
    context = Feed().first() | {"recipients": recipients()}
    for rows, _ in ROWS.values():
        context |= rows()
    return context


def recipients() -> QuerySet[Mailbox]:
    """Whom the operator may write to, the manager first."""
    return Mailbox.objects.filter(open=True).exclude(name__in=(OPERATOR, HIVE)).order_by("-role", "name")


def live() -> dict[str, Part]:
    return {part: Part(partial(html, part), *topics) for part, (_, topics) in ROWS.items()}


def html(part: str) -> str:
    return render_to_string(f"dashboard/_{part}.html", ROWS[part][0]())


def decided(approval: int = 0, **_: Any) -> dict[str, Any]:
    """The approval that a door has just decided, to be shown in the answer."""
    return {"approval": Approval.objects.filter(pk=approval).first()}


def frame(request: HttpRequest) -> dict[str, Any]:
    """What every page has around it. Who is not signed in sees none of it, so nothing is counted for them."""
    return {"hive": SimpleLazyObject(hive)}


def hive() -> dict[str, Any]:
    drivers = sorted(set(alive().values_list("driver", flat=True)))
    return {
        "version": release(),
        "drivers": [(driver, *level(driver)) for driver in drivers],
        "pending": Approval.pending().count(),
        "bind": settings.HIVE_BIND,
    }


def release() -> str:
    front_door = apps.get_app_config("hyperhive").module  # by name: it is not ours to import
    return getattr(front_door, "__version__", "")


@cache
def level(driver: str) -> tuple[str, list[str]]:
    """The level, and what it lacks to the best. Probed once: it starts processes."""
    return isolation.level(driver)
