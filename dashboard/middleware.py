"""What goes on with every request: the headers that fence a page in, and the ports that belong to one agent."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from lifecycle.models import Container

from . import roles, views

# Nothing is inline and nothing comes from elsewhere, so what slips through the escaping finds nothing to run.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@sync_and_async_middleware
def headers(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def fenced(response: HttpResponse) -> HttpResponse:
        for name, value in HEADERS.items():
            response.setdefault(name, value)
        return response

    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponse:
            return fenced(await get_response(request))

        return later

    return lambda request: fenced(get_response(request))


class Roles(MiddlewareMixin):
    """Whoever is signed in does what their role may: every view but those that are open to strangers is asked for here."""

    def process_view(self, request: Any, view: Callable[..., Any], *_: Any) -> HttpResponse | None:
        if not getattr(view, "login_required", True):
            return None
        sentence = roles.refusal(roles.of_request(request), roles.needed(request))
        return views.refused(request, sentence, 403) if sentence else None


@sync_and_async_middleware
def agent_ports(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """`/` on an agent's port leads to that agent's page, on the same port."""
    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponse:
            return await sync_to_async(agents_page)(request) or await get_response(request)

        return later

    return lambda request: agents_page(request) or get_response(request)


def agents_page(request: HttpRequest) -> HttpResponse | None:
    port = request.META.get("SERVER_PORT", "")
    if request.path != "/" or not port.isdigit() or port == settings.HIVE_BIND.rpartition(":")[2]:
        return None
    # A stranger learns no names: whoever is not signed in goes the way of every page.
    if not request.user.is_authenticated:
        return None
    name = Container.objects.filter(port=int(port)).values_list("name", flat=True).first()
    return redirect("agent", name=name) if name else None
