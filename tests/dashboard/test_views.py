"""Every address: who may come in, what a POST does, and that what agents wrote stays text."""

import re
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from agents.models import Agent, Event, Turn
from approvals.models import Approval
from broker.models import Mailbox, Message
from lifecycle import isolation
from lifecycle.models import Container

from .conftest import container

pytestmark = pytest.mark.django_db

HX = {"HTTP_HX_REQUEST": "true"}
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)><div hx-post=/approvals/1/approve hx-trigger=load>"
TABS = ("inbox", "notes", "config", "turns", "login", "vitals")
URLS = [
    "/", "/approvals/1/approve", "/approvals/1/deny", "/containers", "/containers/scout/stop", "/containers/scout/output",
    "/messages", "/messages/1", "/messages/1/requeue", "/inbox/read", "/logout", "/agents/scout/", "/agents/nobody/",
    "/approvals", "/approvals/1", "/audit", "/search", "/ask/spawn", "/ask/panic", "/ask/many", "/ask/scout/kill",
    "/panic", "/panic/over",
    "/containers/act", "/containers/scout/destroy", "/users", "/users/scout/remove", "/users/scout/link", "/mute", "/waits",
    *(f"/agents/scout/{page}" for page in TABS),
    "/agents/scout/turns/1", "/agents/scout/export", "/agents/scout/config/rollback", "/agents/scout/login/stop",
]  # fmt: skip
GETS = [
    "/", "/agents/scout/", "/agents/nobody/", "/containers/scout/output", "/messages/1", "/approvals", "/approvals/1", "/audit",
    "/search",
    "/ask/spawn", "/ask/panic", "/ask/many", "/ask/scout/kill", "/users", "/waits", "/agents/scout/turns/1",
    "/agents/scout/export", *(f"/agents/scout/{page}" for page in TABS),
]  # fmt: skip
POSTS = [url for url in URLS if url not in GETS]


# ---- who may come in --------------------------------------------------------------------------------------------------


def test_these_are_all_the_addresses():
    patterns = [p for app in ("dashboard.urls", "agents.urls") for p in __import__(app, fromlist=["x"]).urlpatterns]
    assert (
        len(patterns) == len({re.sub(r"\d+|scout|nobody|stop", "x", url) for url in URLS}) + 4
    )  # login, look, healthz and metrics


@pytest.mark.parametrize("url", URLS)
def test_a_stranger_is_sent_to_sign_in(client, url, agent):
    for method in (client.get, client.post):
        response = method(url)
        assert response.status_code == 302
        assert response["Location"].startswith("/login?next=")


@pytest.mark.parametrize("url", POSTS)
def test_a_get_changes_nothing(operator, agent, approval, url):
    assert operator.get(url).status_code == 405
    approval.refresh_from_db()
    agent.refresh_from_db()
    assert (approval.state, agent.op) == ("pending", "")


@pytest.mark.parametrize("url", POSTS)
def test_a_post_without_a_token_is_refused(operator, approval, url):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    response = strict.post(url.replace("/1/", f"/{approval.pk}/"), {"seen": approval.sha256})
    assert (response.status_code, b"load it again" in response.content) == (403, True)
    approval.refresh_from_db()
    assert approval.state == "pending"


def test_health_needs_no_sign_in(client):
    assert client.get("/healthz").json()["ok"] is True


def test_every_page_is_fenced_in(operator, agent):
    for url in ("/", "/login", "/healthz", "/agents/scout/", "/agents/nobody/"):
        response = operator.get(url)
        assert "default-src 'none'; script-src 'self'" in response["Content-Security-Policy"]
        assert "unsafe" not in response["Content-Security-Policy"]
        assert response["Cache-Control"] == "no-store"
        assert (response["X-Frame-Options"], response["Referrer-Policy"]) == ("DENY", "same-origin")


def test_nothing_is_inline(operator, agent, approval):
    for url in ("/", "/login", "/agents/scout/"):
        html = operator.get(url).content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)


def test_an_unknown_host_is_refused(operator):
    assert operator.get("/", headers={"host": "evil.example"}).status_code == 400


def test_an_unknown_agent_has_no_page(operator, agent):
    assert operator.get("/agents/nobody/").status_code == 404


def test_an_agents_port_leads_to_its_page(operator, client, manager):
    assert operator.get("/", SERVER_PORT="8000")["Location"] == "/agents/hm1nd/"
    assert operator.get("/", SERVER_PORT="7000").status_code == 200
    assert operator.get("/", SERVER_PORT="8777").status_code == 200
    assert Client().get("/", SERVER_PORT="8000")["Location"].startswith("/login")


# ---- what is shown ----------------------------------------------------------------------------------------------------


def test_the_dashboard_shows_what_there_is(operator, agent, approval):
    Message.send("operator", "scout", "read the papers")
    Message.send("scout", "operator", "I have read them")
    Event.objects.create(agent="scout", seq=1, kind="log", payload={"text": "a line"})
    html = operator.get("/").content.decode()
    for words in (
        "read the papers",
        "I have read them",
        "a line",
        "a second reader",
        "idle",
        "(1) hyperhive",
        approval.sha256,
    ):
        assert words in html


def test_the_foot_says_the_level_and_each_point_that_it_lacks(operator, agent):
    letter, points = isolation.level(agent.driver)
    page = unescape(operator.get("/").content.decode())
    assert f"driver: {agent.driver}, isolation level {letter}<" in page
    assert points
    assert all(f"not level A: {point}<" in page for point in points)


def test_an_empty_hive_says_what_to_do(operator):
    html = operator.get("/").content.decode()
    for words in ("nothing waits for you", "no agents yet", "no messages yet", "nobody has written to you"):
        assert words in html


def test_what_agents_wrote_stays_text(operator, approval):
    container("scout", error=EVIL, status="failing")
    Mailbox.objects.get_or_create(name="operator")
    Message.send("scout", "operator", EVIL + "\u202e\x1b[31m")
    Message.objects.create(sender="scout", recipient="hm1nd", body=EVIL, cid="1", chain="1", state="dead", reason=EVIL)
    Approval.objects.filter(pk=approval.pk).update(why=EVIL, content=EVIL)
    Turn.objects.create(id="t", agent="scout", number=1, started_at="2026-11-22T20:00:00Z", outcome="<b>", error=EVIL)
    payload = {"message": {"content": [{"type": "text", "text": EVIL}]}}
    Event.objects.create(agent="scout", seq=1, kind="assistant", payload=payload)
    Event.objects.create(agent="scout", seq=2, kind="<b>", payload={EVIL: EVIL * 100})
    for url in ("/", "/agents/scout/"):
        html = operator.get(url).content.decode()
        assert "&lt;script&gt;alert(1)" in html
        for tag in ("<script>", "<img", "<div hx-post"):
            assert tag not in html
    assert "\\u202e\\x1b[31m" in operator.get("/").content.decode()


def test_no_template_trusts_text():
    root = Path(__file__).parents[2]
    for path in [*root.glob("agents/**/*.html"), *root.glob("dashboard/**/*.html"), *root.glob("dashboard/**/*.py")]:
        assert not re.search(r"\|\s*safe|mark_safe|autoescape|safeseq", path.read_text()), path


def test_a_containers_output_is_text(operator, agent, monkeypatch):
    monkeypatch.setattr(Container, "logs", lambda *_, **__: (EVIL + "\x1b[31m", 0))
    html = operator.get("/containers/scout/output").content.decode()
    assert "&lt;script&gt;" in html
    assert "\\x1b[31m" in html
    assert operator.get("/containers/nobody/output").status_code == 404


def test_turns_are_listed(operator, agent):
    Turn.objects.create(
        id="t", agent="scout", number=58, started_at="2026-11-22T20:00:00Z", ended_at="2026-11-22T20:00:51Z",
        outcome="ok", cost_usd=0.06, input_tokens=18100, output_tokens=40,
    )  # fmt: skip
    html = operator.get("/agents/scout/turns").content.decode()
    for words in ("58", "51 s", "18.1k in, 40 out", "$0.060", "ok"):
        assert words in html


# ---- approvals --------------------------------------------------------------------------------------------------------


def test_approving_with_a_form(operator, approval):
    response = operator.post(f"/approvals/{approval.pk}/approve", {"seen": approval.sha256}, follow=True)
    assert f"#{approval.pk} approved" in response.content.decode()
    approval.refresh_from_db()
    assert (approval.state, approval.decided_by) == ("approved", "operator")
    assert approval.decided_from == "the dashboard at 127.0.0.1"


def test_approving_with_htmx_answers_with_the_decided_card(operator, approval):
    response = operator.post(f"/approvals/{approval.pk}/approve", {"seen": approval.sha256}, **HX)
    html = response.content.decode()
    assert response.status_code == 200
    assert f'id="approval-{approval.pk}"' in html
    assert "autofocus" in html


def test_denying_takes_a_reason_and_the_manager_hears_it(operator, approval):
    operator.post(f"/approvals/{approval.pk}/deny", {"reason": "one reader is enough"})
    approval.refresh_from_db()
    assert (approval.state, approval.reason) == ("denied", "one reader is enough")
    assert "one reader is enough" in Message.objects.get(recipient="hm1nd").body


@pytest.mark.parametrize("headers", [{}, HX])
def test_the_second_decision_hears_who_was_first(operator, approval, headers):
    approval.deny("operator", "the command line")
    response = operator.post(f"/approvals/{approval.pk}/approve", {"seen": approval.sha256}, **headers)
    assert response.status_code == 409
    assert "already denied, by operator from the command line" in response.content.decode()


def test_a_yes_is_a_yes_to_what_was_shown(operator, approval):
    response = operator.post(f"/approvals/{approval.pk}/approve", {"seen": "0" * 64})
    assert (response.status_code, b"look again" in response.content) == (409, True)
    assert operator.post(f"/approvals/{approval.pk}/approve").status_code == 409
    approval.refresh_from_db()
    assert approval.state == "pending"


def test_an_unknown_approval_is_not_found(operator):
    assert operator.post("/approvals/77/approve").status_code == 404


# ---- agents and messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "rebuild"])
def test_a_verb_becomes_a_wish(operator, agent, verb):
    assert operator.post(f"/containers/scout/{verb}").status_code == 302
    agent.refresh_from_db()
    assert agent.op == verb


def test_pause_and_resume(operator, agent):
    operator.post("/containers/scout/pause")
    assert Container.named("scout").paused
    assert "resume" in operator.get("/").content.decode()
    operator.post("/containers/scout/resume")
    assert not Container.named("scout").paused


def test_a_wish_that_cannot_be(operator, agent):
    assert operator.post("/containers/scuot/stop").status_code == 404
    assert operator.post("/containers/scout/explode").status_code == 404
    assert operator.post("/containers/scout/delete").status_code == 404
    Container.objects.update(desired="destroyed")
    assert operator.post("/containers/scout/start").status_code == 409


def test_spawning_a_name_outside_the_rule(operator):
    response = operator.post("/containers", {"name": "No Such Name"}, **HX)
    assert response.status_code == 400
    assert not Container.objects.exists()


def test_sending(operator, agent):
    response = operator.post("/messages", {"to": "scout", "body": "two\r\nlines", "next": "/agents/scout/"})
    assert response["Location"] == "/agents/scout/"
    message = Message.objects.get()
    assert (message.sender, message.recipient, message.body, message.state) == (
        "operator",
        "scout",
        "two\nlines",
        "queued",
    )


@pytest.mark.parametrize(
    ("to", "body", "status", "words"),
    [
        ("scuot", "hello", 404, "Did you mean &#x27;scout&#x27;"),
        ("", "hello", 404, "Nobody is called"),
        ("scout", "  ", 400, "says nothing"),
        ("scout", "x" * 70_000, 400, "at most 64 KiB"),
        ("gone", "hello", 409, "it was destroyed"),
    ],
)
def test_what_cannot_be_sent(operator, agent, to, body, status, words):
    Mailbox.objects.create(name="gone", open=False)
    response = operator.post("/messages", {"to": to, "body": body}, **HX)
    assert (response.status_code, words in response.content.decode()) == (status, True)
    assert not Message.objects.exists()


def test_requeue(operator, agent):
    message = Message.send("operator", "scout", "again")
    assert operator.post(f"/messages/{message.pk}/requeue").status_code == 409
    Message.objects.update(state="dead")
    assert "requeue" in operator.get("/").content.decode()
    assert operator.post(f"/messages/{message.pk}/requeue").status_code == 302
    assert Message.objects.get().state == "queued"
    assert operator.post("/messages/99/requeue").status_code == 404


def test_reading_marks_what_was_shown_and_no_more(operator, agent):
    Mailbox.objects.create(name="operator", role="operator")
    first, second = (Message.send("scout", "operator", body) for body in ("one", "two"))
    assert "mark 2 as read" in operator.get("/").content.decode()
    operator.post("/inbox/read", {"upto": first.pk})
    assert list(Message.objects.order_by("id").values_list("state", flat=True)) == ["delivered", "queued"]
    assert operator.post("/inbox/read", {"upto": "x"}).status_code == 400
    Message.claim("operator", "the-cli", "the-cli", 60)
    assert operator.post("/inbox/read", {"upto": second.pk}).status_code == 302
    Message.send("scout", "operator", "three")
    assert operator.post("/inbox/read", {"upto": 10**9}).status_code == 409


def test_every_name_in_the_urls_resolves():
    assert {"index", "agent", "approve"} <= {name for name in get_resolver().reverse_dict if isinstance(name, str)}


def test_agents_without_a_container_keep_their_page(operator, db):
    Agent.objects.create(name="ghost")
    assert "its container is gone" in operator.get("/agents/ghost/").content.decode()


# ---- a configuration by commit


@pytest.fixture
def commit(agent, manager) -> Approval:
    before, content = 'model = "opus"\n', f'model = "opus"\nprompt = "{EVIL[:40]}"\negress = ["docs.example.org"]\n'
    shown = {"content": content, "before": before, "sha": "c" * 40, "sha256": "d" * 64, "base": "e" * 64}
    expires = timezone.now() + timedelta(days=1)
    Container.objects.filter(pk="scout").update(source=before)
    return Approval.objects.create(
        kind="apply_commit", agent="scout", incarnation=agent.incarnation, why="docs", requested_by="hm1nd",
        expires_at=expires, **shown,
    )  # fmt: skip


def test_a_commit_is_shown_as_its_difference_and_its_settings(operator, commit):
    page = operator.get("/").content.decode()
    assert "<code>egress +docs.example.org</code>" in page
    assert '<tr class="add"><td class="l"></td><td class="l">3</td><td class="s">+</td>' in page
    assert "commit cccccccccccc" in page
    assert "which is rebuilt as soon as it runs no turn" in page
    assert "<script>alert(1)" not in page


def test_a_commit_is_approved_on_what_was_seen(operator, commit):
    Container.objects.filter(pk="scout").update(source="")
    response = operator.post(f"/approvals/{commit.pk}/approve", {"seen": commit.sha256})
    assert response.status_code == 409
    assert "has changed since approval" in response.content.decode()
    Container.objects.filter(pk="scout").update(source=commit.before)
    operator.post(f"/approvals/{commit.pk}/approve", {"seen": commit.sha256})
    commit.refresh_from_db()
    assert (commit.state, commit.decided_by) == ("approved", "operator")
