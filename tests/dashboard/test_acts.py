"""Who did what: every act leaves a line with who and from where, what is refused leaves none, and the page shows them all."""

import re
from typing import Any

import pytest
from django.test import Client

from agents.models import Login
from approvals.models import Approval
from broker.models import Lease, Message
from dashboard import auth
from dashboard.acts import Act
from dashboard.urls import urlpatterns
from lifecycle.models import Container

pytestmark = pytest.mark.django_db

HX = {"HTTP_HX_REQUEST": "true"}
# Address -> what is sent there, and the lines that are to come of it: verb, to whom, and more words, if any.
ACTS: dict[str, tuple[str, dict[str, Any], list[tuple[str, ...]]]] = {
    "approve": ("/approvals/{approval}/approve", {"seen": "{seen}"}, [("approve", "sonar", "#{approval}")]),
    "deny": ("/approvals/{approval}/deny", {"reason": "no"}, [("deny", "sonar", "#{approval}")]),
    "act": ("/containers/scout/stop", {}, [("stop", "scout", "")]),
    "act_many": (
        "/containers/act",
        {"verb": "pause", "agent": ["scout", "nobody", "hm1nd"]},
        [("pause", "scout", ""), ("pause", "hm1nd", "")],
    ),
    "destroy": ("/containers/scout/destroy", {"typed": "scout", "purge": "yes"}, [("purge", "scout", "")]),
    "spawn": ("/containers", {"name": "forge"}, [("spawn", "forge", "")]),
    "panic": ("/panic", {}, [("panic", "*", "0 turns end now, 2 agents are paused")]),
    "go_on": ("/panic/over", {"since": "2026-01-01T00:00:00+00:00"}, [("panic over", "*", "")]),
    "send": ("/messages", {"to": "*", "body": "stand by"}, [("send", "*", "#2, #3")]),
    "requeue": ("/messages/1/requeue", {}, [("requeue", "scout", "#1")]),
    "mute": ("/mute", {"hours": "8"}, [("mute", "", "8 h")]),
    "users": ("/users", {"name": "anna", "role": "viewer"}, [("user add", "anna", "viewer")]),
    "user_remove": ("/users/a-viewer/remove", {}, [("user remove", "a-viewer", "")]),
    "user_link": ("/users/a-viewer/link", {}, [("link", "a-viewer", "")]),
    "login-act": ("/agents/scout/login/logout", {}, [("login logout", "scout", "")]),
}
# What only shows, what is one's own, and what has tests of its own: agent-rollback below, login in test_auth.
SILENT = {
    "index", "login", "logout", "look", "healthz", "approvals", "approval", "audit", "search", "ask_spawn", "ask_panic",
    "ask_many", "ask",
    "output", "message", "agent-notes", "agent-config", "agent-vitals", "waits", "metrics", "read", "agent-rollback",
}  # fmt: skip


@pytest.fixture
def rows(agent: Container, manager: Container, approval: Approval, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(Container, "_best_driver", lambda: "process")
    auth.give("a-viewer", "viewer")
    Message.send("hm1nd", "scout", "hi")
    Message.objects.update(state="dead")
    return {"approval": approval.pk, "seen": approval.sha256}


def lines() -> list[tuple[str, ...]]:
    return list(Act.objects.order_by("pk").values_list("verb", "target", "words"))


def test_every_address_is_in_one_of_the_tables() -> None:
    assert {str(pattern.name) for pattern in urlpatterns} == set(ACTS) | SILENT


@pytest.mark.parametrize("name", ACTS)
def test_an_act_leaves_a_line_with_who_and_from_where(signed_in: Any, rows: dict[str, Any], name: str) -> None:
    path, fields, expected = ACTS[name]
    given = {key: value.format(**rows) if isinstance(value, str) else value for key, value in fields.items()}
    response = signed_in("admin").post(path.format(**rows), given, REMOTE_ADDR="192.0.2.7")
    assert response.status_code in (200, 302), response.content
    assert lines() == [tuple(word.format(**rows) for word in line) for line in expected]
    assert set(Act.objects.values_list("by", "where")) == {("a-admin", "the dashboard at 192.0.2.7")}


def test_what_is_refused_leaves_none(signed_in: Any, rows: dict[str, Any]) -> None:
    admin, viewer = signed_in("admin"), signed_in("viewer")
    for path, fields in (
        ("/containers/nobody/stop", {}),
        ("/containers/scout/interrupt", {}),
        ("/containers/scout/destroy", {"typed": "scou"}),
        ("/messages", {"to": "nobody", "body": "x"}),
        ("/users", {"name": "operator", "role": "viewer"}),
        (f"/approvals/{rows['approval']}/approve", {"seen": "0" * 64}),
    ):
        assert admin.post(path, fields, **HX).status_code >= 400
    assert viewer.post("/containers/scout/stop").status_code == 403
    assert lines() == []


def test_who_signs_in_leaves_a_line(client: Client) -> None:
    auth.give("anna", "operator")
    token, _ = auth.mint(user="anna")
    client.post("/login", {"token": token}, REMOTE_ADDR="192.0.2.8")
    client.post("/login", {"token": token})
    assert list(Act.objects.values_list("by", "where", "verb")) == [("anna", "the dashboard at 192.0.2.8", "sign in")]


def test_an_interrupt_and_a_code_leave_a_line_but_not_the_code(operator: Client, agent: Container) -> None:
    Lease.hold("turn-1", "scout", 60)
    Login.objects.create(agent="scout", state="waiting")
    operator.post("/containers/scout/interrupt")
    operator.post("/agents/scout/login/code", {"code": "secret#code"})
    assert lines() == [("interrupt", "scout", ""), ("login code", "scout", "")]


def test_the_page_shows_the_newest_first_and_turns(operator: Client, agent: Container) -> None:
    for number in range(60):
        Act.note(("anna", "a test"), "stop", "scout" if number % 2 else "forge", f"<i>{number}\u202e</i>")
    page = operator.get("/audit").content.decode()
    assert re.findall(r"i&gt;(\d+)", page) == [str(number) for number in range(59, 9, -1)]
    assert "\u202e" not in page
    [older] = re.findall(r'href="(\?before=\d+)"', page)
    assert re.findall(r"i&gt;(\d+)", operator.get(f"/audit{older}").content.decode()) == [
        str(n) for n in range(9, -1, -1)
    ]
    only = operator.get("/audit", {"of": "forge"}).content.decode()
    assert re.findall(r"i&gt;(\d+)", only) == [str(number) for number in range(58, -1, -2)]
    assert "nothing was done to “nobody” yet" in operator.get("/audit", {"of": "nobody"}).content.decode()
    assert operator.get("/audit", {"before": "x" * 40, "of": "%\x00'"}).status_code == 200
