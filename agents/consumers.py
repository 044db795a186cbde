"""The socket of an agent's pages: each asks for the parts that it has, and the log for the events besides."""

from typing import Any, cast
from urllib.parse import parse_qs

from django.urls import path

from . import parts
from .feed import Feed, NoFeed, Part
from .live import LivePage
from .models import Agent


class AgentPage(LivePage):
    @property
    def name(self) -> str:
        return self.scope["url_route"]["kwargs"]["name"]

    @property
    def tab(self) -> str:
        return parse_qs(self.scope["query_string"].decode("latin1")).get("tab", ["live"])[0]

    def known(self) -> bool:
        return Agent.objects.filter(name=self.name).exists()

    def feed(self) -> Feed:
        return Feed(self.name) if self.tab == "live" else NoFeed(self.name)

    def parts(self) -> dict[str, Part]:
        wanted = ("hero", *parts.PARTS.get(self.tab, ()))
        return {name: part for name, part in parts.live(self.name).items() if name in wanted}


websockets = [path("agents/<str:name>/live", cast(Any, AgentPage.as_asgi()))]
