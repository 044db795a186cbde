"""An agent's page."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from . import parts
from .feed import Feed
from .models import Agent


@require_GET
def page(request: HttpRequest, name: str) -> HttpResponse:
    if not Agent.objects.filter(name=name).exists():
        raise Http404(f"Nobody is called {name[:40]!r}.")
    return render(request, "agents/page.html", parts.page(name) | Feed(name).first())
