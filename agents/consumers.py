"""The socket of an agent's pages: each asks for the parts that it has, and the log for the events besides."""

from typing import Any, cast
from urllib.parse import parse_qs

from django.urls import path

from . import parts
from .feed import Feed, NoFeed, Part
from .live import LivePage
from .models import Agent

# By agent, shared by every tab on its page, so that a change is rendered once.
PARTS: dict[str, dict[str, Part]] = {}


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
        if self.name not in PARTS:
            PARTS[self.name] = parts.live(self.name)
        wanted = ("hero", *parts.PARTS.get(self.tab, ()))
        return {name: part for name, part in PARTS[self.name].items() if name in wanted}


websockets = [path("agents/<str:name>/live", cast(Any, AgentPage.as_asgi()))]
