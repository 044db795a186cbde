"""The socket of an agent's page."""

from typing import Any, cast

from django.urls import path

from . import parts
from .feed import Feed, Part
from .live import LivePage
from .models import Agent


class AgentPage(LivePage):
    @property
    def name(self) -> str:
        return self.scope["url_route"]["kwargs"]["name"]

    def known(self) -> bool:
        return Agent.objects.filter(name=self.name).exists()

    def feed(self) -> Feed:
        return Feed(self.name)

    def parts(self) -> dict[str, Part]:
        return parts.live(self.name)


websockets = [path("agents/<str:name>/live", cast(Any, AgentPage.as_asgi()))]
