"""How the hive is, for machines: what is not well, figures for Prometheus, and what waits for the page that asks."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET

from agents.models import STATES, Event
from approvals.models import Approval
from broker.models import Lease, Message

from . import notices, parts, waits
from .models import Mute

ROOM = 256 * 1024 * 1024  # bytes below which the disk counts as nearly full
FRESH = 5  # seconds that an answer to strangers is good for, so that asking often costs nothing


# ---- /healthz ---------------------------------------------------------------------------------------------------------


@require_GET
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the hive serves, 503 when it cannot; `degraded` says what a person should look at. It names nobody."""
    try:
        return JsonResponse({"ok": True, "degraded": cache.get_or_set("degraded", degraded, FRESH)})
    except DatabaseError:
        return JsonResponse({"ok": False, "degraded": ["database"]}, status=503)


def degraded() -> list[str]:
    found = {state for _, state, _, _ in waits.states()}
    signs = {
        "agents_failing": "failing" in found,
        "login_needed": "login" in found,
        "disk_low": disk_free() < ROOM,
        "notifications_failing": bool(notices.failing()),
    }
    return [word for word, seen in signs.items() if seen]


def disk_free() -> int:
    return shutil.disk_usage(settings.HIVE_STATE_DIR).free


# ---- what a page asks for ---------------------------------------------------------------------------------------------


@require_GET
def waiting(request: HttpRequest) -> HttpResponse:
    """What waits, newest last, for the tab's title, its icon, and the browser's own notifications."""
    found = waits.now()
    return JsonResponse(
        {
            "pending": sum(one.kind == "approval" for one in found),
            "icon": waits.icon({one.kind for one in found}),
            "muted": Mute.now() is not None,
            "outside": notices.said(),
            "waits": [waits.as_json(one) for one in sorted(found, key=lambda one: one.since)],
        }
    )


# ---- /metrics ---------------------------------------------------------------------------------------------------------

Sample = tuple[dict[str, str], float]


@require_GET
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats), for whoever has the token."""
    token = _token()
    if not token:
        raise Http404("There is no HIVE_METRICS_TOKEN_FILE.")
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}"):
        return HttpResponse(
            "Say `Authorization: Bearer TOKEN`.\n", "text/plain", 401, headers={"WWW-Authenticate": "Bearer"}
        )
    return HttpResponse("\n".join(lines()) + "\n", "text/plain; version=0.0.4; charset=utf-8")


def _token() -> str:
    try:
        return Path(settings.HIVE_METRICS_TOKEN_FILE or "/nonexistent").read_text().strip()
    except OSError:
        return ""


def lines() -> Iterator[str]:
    for name, (kind, help_, samples) in METRICS.items():
        yield f"# HELP hive_{name} {help_}"
        yield f"# TYPE hive_{name} {kind}"
        for labels, value in samples():
            inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
            yield f"hive_{name}{{{inner}}} {value:g}" if inner else f"hive_{name} {value!r}"


def one(value: Callable[[], Any]) -> Callable[[], Iterable[Sample]]:
    return lambda: [({}, value() or 0)]


def agents() -> list[Sample]:
    found = [state for _, state, _, _ in waits.states()]
    return [({"state": state}, found.count(state)) for state in STATES]


def age(rows: Any) -> float:
    oldest = rows.order_by("created_at").values_list("created_at", flat=True).first()
    return round((timezone.now() - oldest).total_seconds(), 1) if oldest else 0


def undelivered() -> Any:
    return parts.queued().exclude(recipient="operator")


def database() -> int:
    return sum(file.stat().st_size for file in settings.HIVE_STATE_DIR.glob("hive.sqlite3*"))


# Name without its hive_ -> type, help, samples. Each costs an index or a handful of rows, never a walk over a table.
METRICS: dict[str, tuple[str, str, Callable[[], Iterable[Sample]]]] = {
    "info": ("gauge", "Which hive this is.", lambda: [({"version": parts.release()}, 1)]),
    "agents": ("gauge", "Agents by state.", agents),
    "turns_running": ("gauge", "Turns under way.", one(Lease.objects.count)),
    "turns_today": ("gauge", "Turns begun since midnight UTC.", one(lambda: parts.today()["count"])),
    "turns_failed_today": ("gauge", "Of those, ended other than ok.", one(lambda: parts.today()["failed"])),
    "cost_usd_today": ("gauge", "What they cost, by claude's own count.", one(lambda: parts.today()["cost"])),
    "messages_total": ("counter", "Messages ever sent.", one(lambda: Message.objects.aggregate(n=Max("pk"))["n"])),
    "messages_waiting": ("gauge", "Messages that wait for an agent.", one(lambda: undelivered().count())),
    "messages_waiting_seconds": ("gauge", "Age of the oldest of those.", one(lambda: age(undelivered()))),
    "messages_unread": ("gauge", "Messages that wait for the operator.", one(lambda: parts.unread().count())),
    "messages_dead": (
        "gauge", "Messages given up, until requeued.", one(lambda: Message.objects.extra(where=["state = 'dead'"]).count())
    ),
    "events_total": ("counter", "Events ever recorded.", one(lambda: Event.objects.aggregate(n=Max("pk"))["n"])),
    "approvals_pending": ("gauge", "Requests that wait for a decision.", one(lambda: Approval.pending().count())),
    "approvals_pending_seconds": ("gauge", "Age of the oldest of those.", one(lambda: age(Approval.pending()))),
    "notices_failing": ("gauge", "Places outside that could not be told.", one(lambda: len(notices.failing()))),
    "database_bytes": ("gauge", "Size of the database with its log.", one(database)),
    "disk_free_bytes": ("gauge", "Room left for the state directory.", one(disk_free)),
    "memory_bytes": ("gauge", "Resident memory of the daemon.", one(lambda: psutil.Process().memory_info().rss)),
    "start_time_seconds": ("gauge", "When the daemon started, Unix time.", one(lambda: psutil.Process().create_time())),
}  # fmt: skip
