"""What the dashboard shows: part -> rows -> HTML, the same on first load and live."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.db.models.functions import Left
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from agents.feed import Feed, Part
from agents.models import STATES, Agent, Turn
from approvals.models import Approval
from broker.models import HIVE, OPERATOR, Job, Mailbox, Message
from lifecycle import isolation
from lifecycle import panic as panics
from lifecycle.models import Container

from . import asks, narrowed, revisions
from .indexing import a_minute
from .narrowed import Narrowed

SHOWN, DECIDED = 50, 3
HEAD = 4000  # characters of a message that a page shows before it is opened

# All messages that the page shows, each group by an index of its own: no count and no scan of a table that grows.
MAIL = f"""broker_message.id IN (
    SELECT * FROM (SELECT id FROM broker_message ORDER BY id DESC LIMIT {SHOWN + 20})
    UNION SELECT * FROM (SELECT id FROM broker_message WHERE state = 'dead' ORDER BY id DESC LIMIT 20)
    UNION SELECT * FROM (
        SELECT id FROM broker_message WHERE state = 'queued' AND recipient = '{OPERATOR}' ORDER BY id LIMIT {SHOWN}
    )
    UNION SELECT * FROM (
        SELECT id FROM broker_message WHERE id > (SELECT MAX(id) FROM broker_message) - 5000
            AND state = 'delivered' AND recipient = '{OPERATOR}' ORDER BY id DESC LIMIT 5
    )
    UNION SELECT * FROM (SELECT id FROM broker_message WHERE sender = '{OPERATOR}' LIMIT 1)
    UNION SELECT MIN(id) FROM broker_message INDEXED BY message_queued
        WHERE state = 'queued' AND recipient <> '{OPERATOR}'
)"""  # noqa: S608 (constants of ours)


class Now:
    """What several parts of one page are made of, read at most once for it."""

    @cached_property
    def alive(self) -> list[dict[str, Any]]:
        agents = Agent.objects.in_bulk()
        return [container(row, self.inbox(row.name), agents.get(row.name)) for row in alive()]

    @cached_property
    def queued(self) -> dict[str, tuple[int, int]]:
        """Recipient -> how many wait there, and the number of the oldest."""
        waiting = queued().values("recipient").annotate(count=Count("pk"), oldest=Min("pk"))
        return {row["recipient"]: (row["count"], row["oldest"]) for row in waiting}

    def inbox(self, name: str) -> int:
        return self.queued.get(name, (0, 0))[0]

    @cached_property
    def mail(self) -> list[Message]:
        """The newest first."""
        shown = Message.objects.extra(where=[MAIL])  # noqa: S610 (no word of anybody's in it)
        return list(shown.defer("body").annotate(head=Left("body", HEAD)).order_by("-id"))

    @cached_property
    def approvals(self) -> list[Approval]:
        """What waits, oldest first, then what is carried out and what was decided last, so that its outcome is seen."""
        pending = Q(state=Approval.State.PENDING)
        decided = Approval.objects.exclude(pending).order_by("-decided_at")[:DECIDED]
        shown = pending | Q(state__in=revisions.UNDER_WAY) | Q(pk__in=decided.values("pk"))
        rows = list(Approval.objects.filter(shown).order_by("pk"))
        over = sorted((row.decided_at, row.pk, row) for row in rows if row.decided_at)
        return [row for row in rows if not row.decided_at] + [row for _, _, row in over[::-1]]

    @cached_property
    def managers(self) -> set[str]:
        return {agent["row"].name for agent in self.alive if agent["row"].role == "manager"}


# ---- rows -------------------------------------------------------------------------------------------------------------


def vitals(now: Now) -> dict[str, Any]:
    waiting = [number for name, number in now.queued.items() if name != OPERATOR]
    oldest = min((id_ for _, id_ in waiting), default=0)
    pending = [row.created_at for row in now.approvals if row.state == Approval.State.PENDING]
    states = [agent["state"] for agent in now.alive]
    return {
        "agents": {
            "all": len(states),
            "up": sum(state != "offline" for state in states),
            "thinking": states.count("thinking"),
        },
        "pending": {"count": len(pending), "oldest": min(pending, default=None)},
        "waiting": {
            "count": sum(count for count, _ in waiting),
            "oldest": next((message.created_at for message in now.mail if message.pk == oldest), None),
        },
        "unread_count": now.inbox(OPERATOR),
        "today": today(),
        "spark": spark([count for _, count in a_minute()]),
    }


def today() -> dict[str, Any]:
    """The turns that began since midnight UTC."""
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    failed = Q(ended_at__isnull=False) & ~Q(outcome="ok")
    turns = Turn.objects.filter(started_at__gte=midnight)
    return turns.aggregate(count=Count("pk"), failed=Count("pk", filter=failed), cost=Sum("cost_usd", default=0))


def spark(counts: list[int]) -> dict[str, Any]:
    """A line of 100 by 24, the last minute aside, which is not over."""
    counts = counts[:-1]
    highest = max(1, *counts)
    step = 100 / (len(counts) - 1)
    points = " ".join(f"{n * step:.1f},{23 - 21 * count / highest:.1f}" for n, count in enumerate(counts))
    return {"points": points, "now": counts[-1], "highest": max(counts)}


def approvals(now: Now) -> dict[str, Any]:
    last = next((row for row in now.approvals if row.decided_at), None)
    return {"approvals": now.approvals, "last": last}


def containers(now: Now) -> dict[str, Any]:
    for agent in now.alive:
        agent["revision"] = revisions.of(agent["row"], now.approvals)
        agent["keys"] = narrowed.keys(agent)
    return {"containers": now.alive}


def alive() -> QuerySet[Container]:
    return Container.objects.exclude(status=Container.Status.DESTROYED).order_by("-role", "name")


def container(row: Container, inbox: int, agent: Agent | None = None, whole: bool = False) -> dict[str, Any]:
    state, since, why = row.state(agent)
    # Who is not logged in does nothing that could be paused, and has another button in its row.
    verbs = [verb for verb in acts(row, whole) if whole or (state, verb) != ("login", "pause")]
    return {"row": row, "state": state, "since": since, "why": why, "inbox": inbox, "acts": verbs}


def acts(row: Container, whole: bool = False) -> list[str]:
    """What can be done with an agent now: what its row offers, or the whole of it."""
    if row.desired == Container.Desired.DESTROYED:
        return []
    ends = [] if row.role == "manager" else ["destroy"]
    if row.desired == Container.Desired.STOPPED:
        return ["start", *(["kill"] if row.op else []), *ends]
    return [
        "resume" if row.paused or row.held else "pause",
        "restart",
        *(["rebuild"] if whole else []),
        "stop",
        "kill",
        *(ends if whole else []),
    ]


def inbox(now: Now) -> dict[str, Any]:
    """What the operator has not read, oldest first, after the last few they have."""
    letters = [message for message in now.mail[::-1] if message.recipient == OPERATOR]
    unseen = [letter for letter in letters if letter.state == Message.State.QUEUED][:SHOWN]
    read = [letter for letter in letters if letter.state == Message.State.DELIVERED][-5:]
    return {"unread": unseen, "upto": unseen[-1].pk if unseen else 0, "read": read, "managers": now.managers}


def flow(now: Now) -> dict[str, Any]:
    """The newest messages, newest first; what is dead stays on top until somebody decides."""
    dead = [message for message in now.mail if message.state == Message.State.DEAD]
    rest = [message for message in now.mail if message.state != Message.State.DEAD][:SHOWN]
    return {"flow": dead + rest, "managers": now.managers}


def queued() -> QuerySet[Message]:
    """A literal state: SQLite proves that the partial index serves only then (sqlite.org/partialindex.html)."""
    return Message.objects.extra(where=["state = 'queued'"]).order_by()


def unread() -> QuerySet[Message]:
    return queued().filter(recipient=OPERATOR).order_by("id")


def jobs(now: Now) -> dict[str, Any]:
    """Each with whether it is under way."""
    begun = [(job, job.started_at) for job in Job.objects.all()]
    return {"jobs": [(job, at is not None and (job.ended_at is None or at > job.ended_at)) for job, at in begun]}


def steps(now: Now) -> dict[str, Any]:
    """How far a new hive is: [] once everything is done."""
    manager = next((agent for agent in now.alive if agent["row"].role == "manager"), None)
    state = manager["state"] if manager else "offline"
    done = {
        "runs": True,
        "up": state not in ("offline", "failing", "rebuilding"),
        "login": state in ("idle", "thinking", "paused"),
        "said": any(message.sender == OPERATOR for message in now.mail),
    }
    return {"steps": {} if all(done.values()) else done, "manager": manager}


def panic(now: Now) -> dict[str, Any]:
    rows = [agent["row"] for agent in now.alive]
    return {"panic": panics.since(row for row in rows if row.desired == Container.Desired.RUNNING)}


# Part of the page -> its rows, and the topics that change them.
ROWS: dict[str, tuple[Callable[[Now], dict[str, Any]], tuple[str, ...]]] = {
    "panic": (panic, ("containers",)),
    "steps": (steps, ("containers", "messages")),
    "vitals": (vitals, ("containers", "approvals", "messages", "turns", "indexed")),
    "approvals": (approvals, ("approvals",)),
    "inbox": (inbox, ("messages",)),
    "containers": (containers, ("containers", "messages", "approvals")),
    "flow": (flow, ("messages",)),
    "jobs": (jobs, ("jobs",)),
}


# ---- HTML -------------------------------------------------------------------------------------------------------------


def page(query: Mapping[str, str]) -> dict[str, Any]:
    """Everything for the first load; the address narrows it, as the script does from then on."""
    now, narrow = Now(), Narrowed.read(query)
    context = Feed().first() | {"narrow": narrow, "query": narrow.query, "many_verbs": asks.MANY}
    for rows, _ in ROWS.values():
        context |= rows(now)
    for agent in now.alive:
        agent["hidden"] = not narrow.has(agent)
    for message in context["flow"]:
        message.hidden = not narrow.wants(message)
    open_to = [agent["row"].name for agent in now.alive if agent["row"].desired != Container.Desired.DESTROYED]
    drivers = {agent["row"].driver for agent in now.alive}
    return context | {
        "recipients": open_to,
        "hive": facts(drivers, context["pending"]["count"]),
        "chips": chips(now),
        "none_fits": bool(now.alive) and all(agent["hidden"] for agent in now.alive),
        "containers": narrow.ordered(now.alive),
        "mail_chips": mail_chips(context["flow"]),
        "people": narrow.people(now.alive, context["flow"]),
        "no_mail_fits": bool(context["flow"]) and all(message.hidden for message in context["flow"]),
    }


def mail_chips(flow: list[Message]) -> list[tuple[str, str, int]]:
    """Every state, its word, and how many of the messages that are shown are in it."""
    states = [message.state for message in flow]
    return [(state, word, states.count(state)) for state, word in narrowed.MAIL.items()]


def chips(now: Now) -> list[tuple[str, int]]:
    """Every state with how many are in it, also where nobody is."""
    states = [agent["state"] for agent in now.alive]
    return [(state, states.count(state)) for state in STATES]


def recipients() -> list[str]:
    """Whom the operator may write to, the manager first."""
    boxes = Mailbox.objects.filter(open=True).exclude(name__in=(OPERATOR, HIVE))
    return list(boxes.order_by("-role", "name").values_list("name", flat=True))


def live() -> dict[str, Part]:
    return {part: Part(partial(html, part), *topics) for part, (_, topics) in ROWS.items()}


def html(part: str) -> str:
    return render_to_string(f"dashboard/_{part}.html", ROWS[part][0](Now()))


def decided(approval: int = 0, **_: Any) -> dict[str, Any]:
    """The approval that a door has just decided, to be shown in the answer."""
    return {"approval": Approval.objects.filter(pk=approval).first()}


def frame(request: HttpRequest) -> dict[str, Any]:
    """What every page has around it. Who is not signed in sees none of it, so nothing is counted for them."""
    return {"hive": SimpleLazyObject(hive)}


def hive() -> dict[str, Any]:
    return facts(set(alive().values_list("driver", flat=True)), Approval.pending().count())


def facts(drivers: set[str], pending: int) -> dict[str, Any]:
    return {
        "version": release(),
        "drivers": [(driver, *level(driver)) for driver in sorted(drivers)],
        "pending": pending,
        "bind": settings.HIVE_BIND,
    }


def release() -> str:
    front_door = apps.get_app_config("hyperhive").module  # by name: it is not ours to import
    return getattr(front_door, "__version__", "")


@cache
def level(driver: str) -> tuple[str, list[str]]:
    """The level, and what it lacks to the best. Probed once: it starts processes."""
    return isolation.level(driver)
