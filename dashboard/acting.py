"""Doors for what is done to agents: each asks first, in a dialog or on a page of its own, and then does it by a POST."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from broker.wire import Refused
from lifecycle import panic as panics
from lifecycle.config import AgentConfig
from lifecycle.models import Container

from . import asks
from .acts import EVERYONE, Act
from .views import ACTS, STATUS, Request, back, door, refused, who

# ---- asking -----------------------------------------------------------------------------------------------------------


def asked(request: Request, template: str, context: dict[str, Any]) -> HttpResponse:
    """The dialog's inside for a script, a page around it for everybody else."""
    whole = "dashboard/ask.html"
    page = {"inside": f"dashboard/{template}", "back": back(request)}
    return render(request, page["inside"] if request.htmx else whole, context | page)


@require_GET
def ask(request: Request, name: str, verb: str) -> HttpResponse:
    try:
        return asked(request, "_ask.html", asks.one(Container.named(name), known(verb, tuple(asks.ASKS))))
    except Refused as refusal:
        return refused(request, str(refusal), STATUS[refusal.kind])


@require_GET
def ask_many(request: Request) -> HttpResponse:
    try:
        names, verb = request.GET.getlist("agent"), known(request.GET.get("verb", ""), asks.MANY)
        if not names:
            raise Refused("bad_params", "Mark the agents first that are meant.", "nobody_marked")
        return asked(request, "_ask.html", asks.many([Container.named(name).name for name in names], verb))
    except Refused as refusal:
        return refused(request, str(refusal), STATUS[refusal.kind])


@require_GET
def ask_spawn(request: Request) -> HttpResponse:
    return asked(request, "_ask_spawn.html", {})


@require_GET
def ask_panic(request: Request) -> HttpResponse:
    return asked(request, "_ask_panic.html", {"names": list(Container.running().values_list("name", flat=True))})


def known(verb: str, verbs: tuple[str, ...]) -> str:
    if verb not in verbs:
        raise Refused("not_found", f"There is no verb {verb[:40]!r}. There are: {', '.join(verbs)}.", "unknown_verb")
    return verb


# ---- doing ------------------------------------------------------------------------------------------------------------


@door
def act_many(request: Request) -> str:
    """A line for each of them: what one refuses keeps no other from it."""
    verb = known(request.POST.get("verb", ""), asks.MANY)
    return "\n".join(tried(request, name, verb) for name in dict.fromkeys(request.POST.getlist("agent")))


def tried(request: Request, name: str, verb: str) -> str:
    try:
        with transaction.atomic():
            ACTS[verb](Container.named(name))
            Act.note(who(request), verb, name)
    except Refused as refusal:
        return f"{name[:40]}: refused. {refusal}"
    return f"{name}: {verb} is on its way."


@door
def destroy(request: Request, name: str) -> str:
    row, purge = Container.named(name), request.POST.get("purge") == "yes"
    if request.POST.get("typed", "").strip() != row.name:
        raise Refused("bad_params", f"Type {row.name} to destroy it.", "name_not_typed")
    row.destroy(purge=purge)
    Act.note(who(request), "purge" if purge else "destroy", name)
    return f"destroy {name}: on its way{', with all that it has' if purge else ''}."


@door
def spawn(request: Request) -> str:
    name, config = request.POST.get("name", "").strip(), request.POST.get("config", "").replace("\r\n", "\n")
    given = AgentConfig.from_toml(config.encode()).written() if config.strip() else None
    Container.spawn(name, config=given, by=request.user.get_username())
    Act.note(who(request), "spawn", name)
    return f"{name} is on its way."


@door
def panic(request: Request) -> str:
    paused, ended = panics.stop_every_turn()
    Act.note(who(request), "panic", EVERYONE, panics.told(paused, ended))
    return f"{panics.told(paused, ended)}. Their messages wait."


@door
def go_on(request: Request) -> str:
    try:
        since = datetime.fromisoformat(request.POST.get("since", ""))
    except ValueError:
        raise Refused("bad_params", "Say which panic is over.", "since_missing") from None
    resumed = panics.go_on(since)
    Act.note(who(request), "panic over", EVERYONE, ", ".join(resumed))
    return f"{len(resumed)} agents go on."
