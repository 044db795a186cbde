"""The dashboard's doors: read the input, say one verb, answer. What a verb refuses becomes a sentence with its status."""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.middleware import HtmxDetails

from approvals.models import Approval
from broker.models import OPERATOR, Message
from broker.wire import Refused
from lifecycle.models import Container

from . import auth, notices, parts
from . import look as looks
from .acts import EVERYONE, Act


class Request(HttpRequest):
    """As django-htmx's middleware leaves it."""

    htmx: HtmxDetails


STATUS = {"bad_params": 400, "refused": 409, "not_found": 404, "conflict": 409, "busy": 503, "timed_out": 503}

OUTPUT = 16 * 1024  # bytes of a container's output that a page shows

MUTES = ("1", "8", "0")

ACTS: dict[str, Callable[[Container], Any]] = {
    "start": Container.start,
    "stop": Container.stop,
    "restart": Container.restart,
    "kill": Container.kill,
    "rebuild": Container.rebuild,
    "interrupt": Container.interrupt,
    "pause": Container.pause,
    "resume": Container.resume,
}


# ---- pages ------------------------------------------------------------------------------------------------------------


@require_GET
def index(request: Request) -> HttpResponse:
    return render(request, "dashboard/index.html", parts.page(request.GET))


@require_GET
def approval(request: Request, approval: int) -> HttpResponse:
    """One request, also where its difference is too long for a card."""
    try:
        return render(request, "dashboard/approval.html", {"approval": Approval.numbered(approval)})
    except Refused as refusal:
        return refused(request, str(refusal), 404)


@require_GET
def output(request: Request, name: str) -> HttpResponse:
    try:
        text, _ = Container.named(name).logs(limit=OUTPUT)
    except Refused as refusal:
        return refused(request, str(refusal), 404)
    return render(request, "dashboard/output.html", {"text": text})


@require_POST
@login_not_required
def look(request: Request) -> HttpResponse:
    try:
        return looks.kept(request, back(request))
    except Refused as refusal:
        return refused(request, str(refusal), 400)


# ---- signing in and out -----------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@login_not_required
def sign_in(request: Request) -> HttpResponse:
    if request.method == "GET":
        return render(request, "dashboard/login.html", {"next": back(request)})
    try:
        auth.sign_in(request, request.POST.get("token", ""))
    except Refused as refusal:
        status = 429 if refusal.kind == "busy" else 403
        again = {"refusal": str(refusal), "next": back(request)}
        response = render(request, "dashboard/login.html", again, status=status)
        if status == 429:
            response["Retry-After"] = "60"
        return response
    Act.note(who(request), "sign in")
    return redirect(back(request))


@require_POST
def sign_out(request: Request) -> HttpResponse:
    logout(request)
    return redirect("login")


def csrf_failure(request: Request, reason: str = "") -> HttpResponse:
    response = refused(request, "This page is too old to act on: load it again, then repeat.", 403)
    if request.htmx and not request.user.is_authenticated:
        response["HX-Redirect"] = "/login"
    return response


# ---- acting -----------------------------------------------------------------------------------------------------------


def door(verb: Callable[..., str]) -> Callable[..., HttpResponse]:
    """A POST that does what `verb` does, wholly or not at all, and answers with the sentence that it returns."""

    @wraps(verb)
    @require_POST
    def view(request: Request, **params: Any) -> HttpResponse:
        try:
            with transaction.atomic():
                sentence = verb(request, **params)
        except Refused as refusal:
            return refused(request, str(refusal), STATUS.get(refusal.kind, 500), **params)
        return done(request, sentence, **params)

    return view


def done(request: Request, sentence: str, **params: Any) -> HttpResponse:
    if request.htmx:
        return render(request, "dashboard/_done.html", {"sentence": sentence} | parts.decided(**params))
    messages.success(request, sentence)
    return redirect(back(request))


def refused(request: Request, sentence: str, status: int, **params: Any) -> HttpResponse:
    if request.htmx:
        return render(request, "dashboard/_done.html", {"refusal": sentence} | parts.decided(**params), status=status)
    return render(request, "dashboard/refused.html", {"refusal": sentence, "back": back(request)}, status=status)


def back(request: Request) -> str:
    """The page to go on with; never one of another host."""
    page = request.POST.get("next") or request.GET.get("next") or "/"
    return page if url_has_allowed_host_and_scheme(page, {request.get_host()}) else "/"


def who(request: HttpRequest) -> tuple[str, str]:
    """The name of whoever is signed in, and from where they come."""
    return request.user.get_username(), f"the dashboard at {request.META.get('REMOTE_ADDR', 'a socket')}"


@door
def approve(request: Request, approval: int) -> str:
    row = Approval.numbered(approval)
    row.approve(*who(request), seen=request.POST.get("seen", ""))
    Act.note(who(request), "approve", row.agent, f"#{row.pk}")
    return f"#{row.pk} approved: {row.agent} is on its way."


@door
def deny(request: Request, approval: int) -> str:
    row = Approval.numbered(approval)
    row.deny(*who(request), request.POST.get("reason", "").strip())
    Act.note(who(request), "deny", row.agent, f"#{row.pk}")
    return f"#{row.pk} denied. {row.requested_by} is told."


@door
def act(request: Request, name: str, verb: str) -> str:
    if verb not in ACTS:
        raise Refused("not_found", f"There is no verb {verb[:40]!r}. There are: {', '.join(ACTS)}.", "unknown_verb")
    ACTS[verb](Container.named(name))
    Act.note(who(request), verb, name)
    return f"{verb} {name}: on its way."


@door
def send(request: Request) -> str:
    # A browser sends CR LF for a new line, whatever was typed.
    body = request.POST.get("body", "").replace("\r\n", "\n")
    to = request.POST.get("to", "")
    sent = [Message.send(OPERATOR, name, body) for name in (parts.recipients() if to == EVERYONE else [to])]
    Act.note(who(request), "send", to, ", ".join(f"#{message.pk}" for message in sent))
    return "\n".join(f"Message {message.pk} waits for {message.recipient}." for message in sent)


@door
def mute(request: Request) -> str:
    hours = request.POST.get("hours", "")
    if hours not in MUTES:
        raise Refused("bad_params", f"Mute for one of {', '.join(MUTES)} hours; 0 lets it go on.", "unknown_time")
    notices.mute(float(hours), *who(request))
    Act.note(who(request), "mute", words=f"{hours} h")
    return f"Nothing is told for {hours} h." if hours != "0" else "What waits is told again."


@door
def requeue(request: Request, message: int) -> str:
    row = Message.objects.filter(pk=message).first()
    if row is None:
        raise Refused("not_found", f"There is no message {message}.", "unknown_message")
    row.requeue()
    Act.note(who(request), "requeue", row.recipient, f"#{row.pk}")
    return f"Message {row.pk} waits for {row.recipient} again."


@door
def read(request: Request) -> str:
    """The operator has read what the page showed: everything up to that number."""
    upto = request.POST.get("upto", "")
    if not upto.isdecimal() or len(upto) > 18:
        raise Refused("bad_params", "Say up to which message you have read.", "upto_missing")
    unread = parts.unread().filter(pk__lte=int(upto)).count()
    turn = f"read-{uuid.uuid4().hex[:24]}"
    if unread and not Message.claim(OPERATOR, turn, turn, 60, most=unread):
        raise Refused(
            "conflict", "The command line is reading the inbox right now: try again in a minute.", "inbox_held"
        )
    return f"{Message.ack(OPERATOR, turn)} marked as read."
