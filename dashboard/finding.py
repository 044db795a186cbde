"""Doors for what is looked up: the search, one message in full, every decision there was, and all that was done."""

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from approvals.models import Approval
from broker.models import Message

from . import search as searching
from .acts import Act
from .views import Request, refused

PAGE = 50


@require_GET
def search(request: Request) -> HttpResponse:
    typed = request.GET.get("q", "")[:500]
    query = searching.parsed(typed)
    found = searching.found(query, number(request) or 0)
    context = {"q": typed, "query": query} | found._asdict()
    if not request.htmx:
        return render(request, "dashboard/search.html", context)
    # In the list on Ctrl K, agents are among the places.
    groups = [(group, hits) for group, hits in found.groups if group != "agents"]
    return render(request, "dashboard/_found.html", context | {"groups": groups, "places": searching.places(typed)})


@require_GET
def message(request: Request, message: int) -> HttpResponse:
    row = Message.objects.filter(pk=message).first()
    if row is None:
        return refused(request, f"There is no message {message}: it was never sent, or is older than is kept.", 404)
    return render(request, "dashboard/_message.html" if request.htmx else "dashboard/message.html", {"message": row})


@require_GET
def approvals(request: Request) -> HttpResponse:
    """Decisions, the newest request first; `?before=ID` turns the page."""
    rows = Approval.objects.exclude(state=Approval.State.PENDING).order_by("-pk")
    if before := number(request):
        rows = rows.filter(pk__lt=before)
    shown, more = paged(rows)
    return render(request, "dashboard/approvals.html", {"approvals": shown, "more": more})


@require_GET
def audit(request: Request) -> HttpResponse:
    """What was done by operators, the newest first; `?of=NAME` to one, `?before=ID` turns the page."""
    target = request.GET.get("of", "")[:150]
    shown, more = paged(Act.of(target, number(request)))
    return render(request, "dashboard/audit.html", {"acts": shown, "more": more, "target": target})


def number(request: Request) -> int | None:
    """What the page is to begin before."""
    before = request.GET.get("before", "")
    return int(before) if before.isdecimal() and len(before) < 19 else None


def paged(rows: QuerySet) -> tuple[list, int | None]:
    """A page of them, and what the next one begins before."""
    shown = list(rows[: PAGE + 1])
    return shown[:PAGE], shown[PAGE - 1].pk if len(shown) > PAGE else None
