"""Rows made by hand, and an operator who is signed in."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.feed import BATCHES
from agents.models import Agent
from approvals.models import Approval
from broker.models import Mailbox
from dashboard import auth
from dashboard.templatetags.hive import CHANGES
from lifecycle.models import Container


@pytest.fixture(autouse=True)
def fresh_batches():
    BATCHES.clear()
    CHANGES.clear()


@pytest.fixture
def agent(db) -> Container:
    return container("scout")


def container(name: str, role: str = "agent", **fields) -> Container:
    Mailbox.objects.get_or_create(name=name, defaults={"role": role})
    Agent.objects.get_or_create(name=name, defaults={"state": "idle", "seen_at": "2026-11-22T20:00:00Z"})
    row = {"driver": "process", "uid": 40000 + Container.objects.count(), "status": "running"} | fields
    return Container.objects.create(name=name, role=role, **row)


@pytest.fixture
def manager(db) -> Container:
    Mailbox.objects.get_or_create(name="operator", defaults={"role": "operator"})
    return container("hm1nd", "manager", port=8000)


@pytest.fixture
def approval(manager) -> Approval:
    return Approval.request_spawn("hm1nd", "sonar", "a second reader for the audio papers")


@pytest.fixture
def signed_in(db):
    """`signed_in("viewer")` is a browser of somebody with that role; '' has none."""

    def browser(role: str) -> Client:
        client = Client()
        if role:
            auth.give(f"a-{role}", role)
        user, _ = User.objects.get_or_create(username=f"a-{role}" if role else "nobody")
        client.force_login(user)
        return client

    return browser


@pytest.fixture
def operator(db, client: Client) -> Client:
    client.force_login(auth.operator())
    return client
