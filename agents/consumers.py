"""The socket of an agent's page."""

from typing import Any, cast

from django.urls import path

from . import parts
from .feed import Feed, Part
from .live import LivePage
from .models import Agent

# By agent, shared by every tab on its page, so that a change is rendered once.
PARTS: dict[str, dict[str, Part]] = {}


class AgentPage(LivePage):
    @property
    def name(self) -> str:
        return self.scope["url_route"]["kwargs"]["name"]

    def known(self) -> bool:
        return Agent.objects.filter(name=self.name).exists()

    def feed(self) -> Feed:
        return Feed(self.name)

    def parts(self) -> dict[str, Part]:
        if self.name not in PARTS:
            PARTS[self.name] = parts.live(self.name)
        return PARTS[self.name]


websockets = [path("agents/<str:name>/live", cast(Any, AgentPage.as_asgi()))]
