"""The admin site: every row to be read by admins, none to be written by anybody, and no slower for a million rows."""

import json

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.logins import Login
from agents.models import Agent, Event, Turn
from broker.admin import NewestOnly
from broker.age import Age
from broker.jobs import Job
from broker.models import Lease, Message
from dashboard import auth
from dashboard.acts import Act
from dashboard.indexing import Indexed, Minute
from dashboard.models import Mute, Notice

from .test_urls import rows

pytestmark = pytest.mark.django_db

# What no admin needs to see: Django's own books, and the keys of sessions.
UNSEEN = {"admin.LogEntry", "auth.Permission", "auth.Group", "contenttypes.ContentType", "sessions.Session"}
HIDING = "\u202egnp.exe\u200b<script>alert(1)</script>"


@pytest.fixture
def everything(agent, approval) -> None:
    """A row of every kind."""
    Message.send("hm1nd", "scout", HIDING)
    Lease.hold("turn-1", "scout", 60)
    row = Agent.objects.get(name="scout")
    at = "2026-11-22T20:14:02Z"
    Event.take_over(row, [{"seq": 1, "turn": None, "at": at, "kind": "log", "payload": {"text": HIDING}}])
    Turn.objects.create(id="turn-1", agent="scout", number=1, started_at=at)
    auth.mint()
    Act.note(("anna", "a test"), "stop", "scout", HIDING)
    Notice.objects.create(key="approval-1", target="ntfy")
    Mute.objects.create(until=at, by="operator", where="a test")
    Login.objects.create(agent="scout")
    Age.count()
    Job.objects.create(name="vacuum", period=3600)
    Indexed.objects.get_or_create(pk=1)
    Minute.objects.create(at=at, messages=3)


def pages() -> list[str]:
    """The list of each model, one row of it, and its form to add or delete."""
    found = ["/admin/"]
    for model, _ in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pk = model._default_manager.values_list("pk", flat=True).first()
        assert pk is not None, f"no row of {name} to look at"
        found += [reverse(f"{name}_changelist"), reverse(f"{name}_add")]
        found += [reverse(f"{name}_{act}", args=[pk]) for act in ("change", "delete", "history")]
    return found


def test_every_model_is_there(everything) -> None:
    shown = {model._meta.label for model in admin.site._registry}
    assert shown == {model._meta.label for model in apps.get_models()} - UNSEEN


def test_every_page_opens_and_changes_nothing(operator, everything) -> None:
    before = rows()
    for path in pages():
        expected = {403} if path.endswith(("/add/", "/delete/")) else {200}
        assert operator.get(path).status_code in expected, path
    for path in ("/admin/jsi18n/", "/admin/password_change/", "/admin/nowhere/"):
        assert operator.get(path).status_code in (200, 302, 404), path
    assert rows() == before


def test_nothing_can_be_written(operator, everything) -> None:
    before = rows()
    for path in [*pages(), "/admin/password_change/"]:
        said = {"action": "delete_selected", "_selected_action": "1", "post": "yes", "name": "x", "username": "x"}
        assert operator.post(path, said).status_code in (200, 302, 403, 404, 405), path
    assert rows() == before


@pytest.mark.parametrize("role", ["viewer", "operator", ""])
def test_it_is_for_admins(signed_in, everything, role) -> None:
    client = signed_in(role)
    for path in [*pages(), "/admin/password_change/", "/admin/jsi18n/"]:
        assert client.get(path).status_code == 403, path
        assert client.post(path).status_code == 403, path


def test_an_admin_by_role_may_look_too(signed_in, everything) -> None:
    assert signed_in("admin").get("/admin/broker/message/").status_code == 200


def test_a_stranger_signs_in_as_everywhere(client: Client, everything) -> None:
    for path in [*pages(), "/admin/logout/", "/admin/password_change/", "/admin/jsi18n/"]:
        answer = client.get(path, follow=True)
        assert answer.redirect_chain[-1][0].startswith("/login?next=/admin/"), path
    assert client.post("/admin/login/", {"username": "operator", "password": "x"})["Location"] == "/login?next=/admin/"


def test_signing_out_there_is_signing_out(operator) -> None:
    assert operator.get("/admin/logout/").status_code == 405
    assert operator.post("/admin/logout/")["Location"] == "/login"
    assert operator.get("/admin/").status_code == 302


def test_what_an_agent_wrote_hides_nothing(operator, everything) -> None:
    message, event = Message.objects.get(), Event.objects.get()
    for path in (
        "/admin/broker/message/", f"/admin/broker/message/{message.pk}/change/", "/admin/agents/event/",
        f"/admin/agents/event/{event.pk}/change/",
    ):  # fmt: skip
        page = operator.get(path).content.decode()
        assert "gnp.exe" in page
        assert not {"\u202e", "\u200b", "<script>alert"} & {
            mark for mark in ("\u202e", "\u200b", "<script>alert") if mark in page
        }


def test_no_secret_is_shown(operator, everything) -> None:
    user = auth.operator()
    page = operator.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert "operator" in page
    assert user.password not in page


def test_a_list_costs_the_same_at_any_size(operator, everything, monkeypatch) -> None:
    monkeypatch.setattr(NewestOnly, "MOST", 150)
    body = {"sender": "hm1nd", "recipient": "scout", "chain": "c", "body": "x"}
    Message.objects.bulk_create(Message(cid=f"m{n}", **body) for n in range(400))
    for query in ("", "?state=dead", "?state=queued&p=2", "?state=%27;DROP", "?p=99", "?all=", "?_facets=True"):
        with CaptureQueriesContext(connection) as asked:
            response = operator.get(f"/admin/broker/message/{query}")
        assert response.status_code in (200, 302), query
        said = [one["sql"] for one in asked if "broker_message" in one["sql"]]
        assert not [sql for sql in said if "COUNT(" in sql], query
        # What is counted to be less than a page is read whole.
        assert "dead" in query or all("LIMIT" in sql for sql in said), said
        assert len(said) <= 3, json.dumps(said)
    newest = Message.objects.order_by("-pk").first()
    page = operator.get("/admin/broker/message/").content.decode()
    assert f"/{newest.pk}/change/" in page
    assert "150 messages" in page
