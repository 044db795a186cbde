"""Who may do what in the pages: the roles, and the one table of what an address asks for."""

from typing import Any

from channels.db import database_sync_to_async
from channels.middleware import BaseMiddleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from broker.wire import Refused

ROLES = ("viewer", "operator", "admin")  # each may do what those before it may
SESSION = "hive_role"  # the most that this session may be, said by the link it began with

# To read asks for the first role, to change anything for the second. What asks for another: address, or its namespace -> role.
OTHERS = {
    "logout": "",
    "users": "admin",
    "user_remove": "admin",
    "user_link": "admin",
    "admin": "admin",
}


def needed(request: HttpRequest) -> str:
    match = request.resolver_match
    place = (match.namespace or match.url_name or "") if match else ""
    return OTHERS.get(place, ROLES[0] if request.method in ("GET", "HEAD", "OPTIONS") else ROLES[1])


def of(user: Any, session: Any) -> str:
    """The role of whoever signed in, at most that of the link; '' for none."""
    given = of_user(user)
    return min(given, session.get(SESSION, given), key=rank)


def of_request(request: Any) -> str:
    """Looked up once, though a page asks twice."""
    if not hasattr(request, "role"):
        request.role = of(request.user, request.session)
    return request.role


def of_user(user: Any) -> str:
    if not user.is_authenticated or not user.is_active:
        return ""
    if user.is_superuser:
        return ROLES[-1]
    return max(user.groups.filter(name__in=ROLES).values_list("name", flat=True), key=rank, default="")


def rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else -1


def must_be_one(role: str) -> None:
    if role not in ROLES:
        raise Refused("bad_params", f"{role[:40]!r} is no role: there are {', '.join(ROLES)}.", "unknown_role")


def refusal(role: str, wanted: str) -> str:
    """'' when that role may do what the wanted one may, else why not."""
    if rank(role) >= rank(wanted):
        return ""
    held = f"You are signed in as {role}" if role else "You are signed in without a role"
    return f"{held}, and this takes {wanted}: an admin can give you that with `hive user add`."


def frame(request: HttpRequest) -> dict[str, Any]:
    """For the templates; style.css hides from a viewer what only changes something."""
    return {"role": of_request(request)}


class Viewers(BaseMiddleware):
    """Of the sockets, which only show: whoever has no role is as good as not signed in."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if not await database_sync_to_async(of)(scope["user"], scope["session"]):
            scope = scope | {"user": AnonymousUser()}
        return await super().__call__(scope, receive, send)
