"""An agent's pages, and what of its events can be taken away."""

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from . import parts, transcript
from .feed import Feed
from .models import Agent, Event, Turn

PAGE = 500  # events that are read at once


@require_GET
def page(request: HttpRequest, name: str, tab: str) -> HttpResponse:
    known(name)
    context = parts.page(name, tab) | past(request, name, tab)
    return render(request, f"agents/{'page' if tab == 'live' else tab}.html", context)


def past(request: HttpRequest, name: str, tab: str) -> dict[str, Any]:
    """What an address asks for that is not the newest: such a page stands still."""
    before, at = number(request, "before"), number(request, "at")
    if tab == "live" and (before or at):
        return Feed(name).around(at, before) | {"live": False, "at": at}
    if tab == "turns" and before:
        return parts.turns(name, before) | {"live": False}
    return {}


def number(request: HttpRequest, name: str) -> int:
    """A number of the address; 0 where it has none, or none that could be an id."""
    given = request.GET.get(name, "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else 0


def known(name: str) -> None:
    if not Agent.objects.filter(name=name).exists():
        raise Http404(f"Nobody is called {name[:40]!r}.")


@require_GET
def turn(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """A turn as Markdown."""
    found = Turn.objects.filter(agent=name, number=number).first()
    if found is None:
        raise Http404(f"{name[:40]!r} has no turn {number}.")
    response = HttpResponse(transcript.of(found), content_type="text/markdown; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-turn-{number}.md"'
    return response


@require_GET
def export(request: HttpRequest, name: str) -> StreamingHttpResponse:
    """Its events, oldest first, as NDJSON or text: all, those of a turn, or those after a number and up to another."""
    known(name)
    form = transcript.FORMS.get(request.GET.get("form", "ndjson"))
    if form is None:
        raise Http404(f"There are: {', '.join(transcript.FORMS)}.")
    wanted: dict[str, Any] = {"agent": name, "pk__gt": number(request, "after")}
    if upto := number(request, "upto"):
        wanted["pk__lte"] = upto
    if turn := request.GET.get("turn", ""):
        wanted["turn"] = turn[:36]
    response = StreamingHttpResponse(written(wanted, form), content_type=f"{form.kind}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-events.{form.suffix}"'
    return response


async def written(wanted: dict[str, Any], form: transcript.Form) -> AsyncIterator[str]:
    """Page by page, so that no length is too long."""
    while rows := await sync_to_async(lambda: list(Event.objects.filter(**wanted).order_by("pk")[:PAGE]))():
        yield "".join(form.line(event) for event in rows)
        wanted["pk__gt"] = rows[-1].pk
