"""The pages of an agent that need its container or its files: notes, configuration, vital signs, and what is done there."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from agents import parts as agents
from agents.models import Agent, Login
from approvals import intake
from approvals.models import Approval
from broker.wire import Refused
from lifecycle import notes
from lifecycle.difference import diff
from lifecycle.models import Container

from . import diffs
from .acts import Act
from .views import Request, door, refused, who

HISTORY = 50  # configurations that are listed


def frame(name: str, tab: str) -> dict[str, Any]:
    if not Agent.objects.filter(name=name).exists():
        raise Http404(f"Nobody is called {name[:40]!r}.")
    return agents.frame(name, tab)


# ---- notes ------------------------------------------------------------------------------------------------------------


@require_GET
def notes_(request: Request, name: str) -> HttpResponse:
    context = frame(name, "notes")
    if path := request.GET.get("file", ""):
        try:
            context |= {"path": path, "text": notes.read(name, path)}
        except Refused as refusal:
            context |= {"path": path, "refusal": str(refusal)}
    found, more = notes.listing(name)
    return render(request, "dashboard/notes.html", context | {"notes": found, "more": more})


# ---- configuration ----------------------------------------------------------------------------------------------------


@require_GET
def config(request: Request, name: str) -> HttpResponse:
    """What is applied, what was, and the difference that one of them made."""
    context = frame(name, "config")
    row = Container.objects.filter(name=name).first()
    if row is None:
        return render(request, "dashboard/config.html", context)
    try:
        history = intake.history(name)
        context |= {"row": row, "history": [dated(entry) for entry in history[:HISTORY]]}
        context |= change(row, history, request.GET.get("rev", ""))
    except Refused as refusal:
        return refused(request, str(refusal), 409)
    return render(request, "dashboard/config.html", context)


def dated(entry: dict[str, str]) -> dict[str, Any]:
    return entry | {"at": datetime.fromisoformat(entry["at"])}


def change(row: Container, history: list[dict[str, str]], rev: str) -> dict[str, Any]:
    """What that revision changed, against the one before it."""
    at = next((n for n, entry in enumerate(history) if rev and entry["rev"].startswith(rev)), None)
    if at is None:
        return {}
    text = intake.read(row, history[at]["rev"])
    before = intake.read(row, history[at + 1]["rev"]) if at + 1 < len(history) else ""
    return {
        "shown": dated(history[at]),
        "diff": diffs.shown(diff(before.encode(), text.encode()), diffs.PAGE),
        "label": f"Difference of {history[at]['rev'][:12]}",
        "changes": intake.changes(before, text),
        "applied": text == row.source,
    }


@door
def rollback(request: Request, name: str) -> str:
    rev = request.POST.get("rev", "")
    found = intake.earlier(name, rev)
    row = Approval.rollback(*who(request), name, rev, found)
    Act.note(who(request), "rollback", name, f"#{row.pk}")
    return f"#{row.pk}: {name} goes back to {rev[:12]}."


# ---- login ------------------------------------------------------------------------------------------------------------


def log_in(request: Request, name: str) -> str:
    Container.named(name).log_in()
    return f"{name} starts claude auth login."


def finish(request: Request, name: str) -> str:
    Login.of(name).give(request.POST.get("code", ""))
    return f"{name} gives the code to claude."


def call_off(request: Request, name: str) -> str:
    Login.of(name).cancel()
    return f"The login of {name} is called off."


def log_out(request: Request, name: str) -> str:
    Login.of(name).log_out()
    return f"{name} logs claude out."


LOGIN_ACTS: dict[str, Callable[[Request, str], str]] = {
    "start": log_in,
    "code": finish,
    "cancel": call_off,
    "logout": log_out,
}


@door
def login_act(request: Request, name: str, verb: str) -> str:
    if verb not in LOGIN_ACTS:
        raise Refused(
            "not_found", f"There is no verb {verb[:40]!r}. There are: {', '.join(LOGIN_ACTS)}.", "unknown_verb"
        )
    Container.named(name)
    sentence = LOGIN_ACTS[verb](request, name)
    Act.note(who(request), f"login {verb}", name)
    return sentence


# ---- vital signs ------------------------------------------------------------------------------------------------------


@require_GET
def vitals_(request: Request, name: str) -> HttpResponse:
    return render(request, "dashboard/agent_vitals.html", frame(name, "vitals"))
