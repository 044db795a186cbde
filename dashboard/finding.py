"""Doors for what is looked up: the search, one message in full, and every decision there was."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from approvals.models import Approval
from broker.models import Message

from . import search as searching
from .views import Request, refused

PAGE = 50


@require_GET
def search(request: Request) -> HttpResponse:
    typed = request.GET.get("q", "")[:500]
    query = searching.parsed(typed)
    groups, context = searching.found(query), {"q": typed, "query": query}
    if not request.htmx:
        return render(request, "dashboard/search.html", context | {"groups": groups})
    # In the list on Ctrl K, agents are among the places.
    groups = [(group, hits) for group, hits in groups if group != "agents"]
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
    before = request.GET.get("before", "")
    rows = Approval.objects.exclude(state=Approval.State.PENDING).order_by("-pk")
    if before.isdecimal() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    shown = list(rows[: PAGE + 1])
    more = shown[PAGE - 1].pk if len(shown) > PAGE else None
    return render(request, "dashboard/approvals.html", {"approvals": shown[:PAGE], "more": more})
