"""Agents, turns and events in the plain Django admin."""

import json

from django.contrib import admin

from broker.admin import ReadOnly, beginning

from .logins import Login
from .models import Agent, Event, Turn


@admin.register(Agent)
class AgentAdmin(ReadOnly):
    list_display = ("name", "state", "state_since", "seq", "seen_at", "cli_version")


@admin.register(Turn)
class TurnAdmin(ReadOnly):
    list_display = ("agent", "number", "started_at", "ended_at", "outcome", "cost_usd", "model")
    ordering = ("-started_at",)


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("id", "at", "agent", "seq", "kind", "said")

    @admin.display(description="payload")
    def said(self, row: Event) -> str:
        return beginning(json.dumps(row.payload)[:160])


@admin.register(Login)
class LoginAdmin(ReadOnly):
    """Without the link: whoever has it could take the login."""

    list_display = ("agent", "state", "since", "logged_in", "account")
    fields = ("agent", "state", "since", "until", "words", "logged_in", "account")
