"""The page on which an admin gives people a role, and a link to sign in with."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from broker.wire import Refused

from . import auth, qr, roles
from .acts import Act
from .views import STATUS, door, who


@require_http_methods(["GET", "POST"])
def users(request: HttpRequest) -> HttpResponse:
    return given(request) if request.method == "POST" else page(request)


def page(request: HttpRequest, status: int = 200, **said: Any) -> HttpResponse:
    return render(request, "dashboard/users.html", {"users": auth.users(), "roles": roles.ROLES} | said, status=status)


@door
def given(request: HttpRequest) -> str:
    row = auth.give(request.POST.get("name", "").strip(), request.POST.get("role", ""))
    Act.note(who(request), "user add", row["name"], row["role"])
    return f"{row['name']} is {row['role']}."


@door
def remove(request: HttpRequest, name: str) -> str:
    auth.remove(name)
    Act.note(who(request), "user remove", name)
    return f"{name} is removed."


@require_POST
def link(request: HttpRequest, name: str) -> HttpResponse:
    """Shown once, in the answer itself: it is as good as the user it signs in."""
    try:
        token, expires = auth.mint(user=name)
        Act.note(who(request), "link", name)
    except Refused as refusal:
        return page(request, STATUS.get(refusal.kind, 500), refusal=str(refusal))
    return page(request, link=auth.link(token), code=qr.svg(auth.link(token)), name=name, expires=expires)
