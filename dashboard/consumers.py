"""The dashboard's socket, and with it every socket of the pages."""

from typing import Any, cast

from django.urls import path

from agents import consumers as agents
from agents.feed import Feed, Part
from agents.live import LivePage

from . import parts

# Shared by every tab, so that a change is rendered once.
PARTS = parts.live()


class Dashboard(LivePage):
    def feed(self) -> Feed:
        return Feed()

    def parts(self) -> dict[str, Part]:
        return PARTS


websockets = [path("live", cast(Any, Dashboard.as_asgi())), *agents.websockets]
