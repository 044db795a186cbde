"""Who may do what, over every address there is, and who may give roles."""

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client

from agents.live import SIGNED_OUT
from broker.wire import Refused
from dashboard import auth, roles
from dashboard.models import SignInLink
from hyperhive.asgi import application

from .test_urls import ALL, OPEN, PATHS, rows

pytestmark = pytest.mark.django_db

HX = {"HTTP_HX_REQUEST": "true"}
ADMINS = {"/users", "/users/scout/link", "/users/scout/remove"}
# What is a viewer's own: how it looks, and leaving.
OWN = {"logout"}


def test_a_viewer_sees_and_does_nothing(signed_in, agent, approval) -> None:
    viewer = signed_in("viewer")
    before = rows()
    for name, path in ALL:
        if name in OPEN | OWN:
            continue
        for extra in ({}, HX):
            response = viewer.post(path, {"seen": approval.sha256, "to": "scout", "body": "x", "name": "new"}, **extra)
            assert response.status_code == 403, path
            assert b"You are signed in as viewer" in response.content
    assert rows() == before
    for path in ("/", "/agents/scout/", "/containers/scout/output", "/waits"):
        assert viewer.get(path).status_code == 200
    assert viewer.post("/logout").status_code == 302


def test_an_operator_decides_but_gives_no_roles(signed_in, agent, approval) -> None:
    operator = signed_in("operator")
    answer = operator.post(f"/approvals/{approval.pk}/deny", {"reason": "no"}, REMOTE_ADDR="10.0.0.7")
    assert answer.status_code == 302
    approval.refresh_from_db()
    decided = (approval.state, approval.decided_by, approval.decided_from)
    assert decided == ("denied", "a-operator", "the dashboard at 10.0.0.7")
    assert approval.decided_at is not None
    for path in ADMINS:
        assert operator.post(path, {"name": "mallory", "role": "admin"}).status_code == 403
        assert operator.get(path).status_code == 403
    assert not User.objects.filter(username="mallory").exists()


def test_who_has_no_role_sees_nothing_but_may_leave(signed_in, agent) -> None:
    nobody = signed_in("")
    for path in PATHS:
        if path != "/logout":
            assert nobody.get(path).status_code == 403, path
            assert nobody.post(path).status_code == 403, path
    assert nobody.post("/logout").status_code == 302


def test_an_admin_gives_roles_and_takes_them(signed_in) -> None:
    admin = signed_in("admin")
    assert b"a-admin" in admin.get("/users").content
    assert admin.post("/users", {"name": "anna", "role": "viewer"}).status_code == 302
    assert roles.of_user(User.objects.get(username="anna")) == "viewer"
    admin.post("/users", {"name": "anna", "role": "operator"})
    assert roles.of_user(User.objects.get(username="anna")) == "operator"
    shown = admin.post("/users/anna/link").content.decode()
    token = shown.split("/login#")[1].split("<")[0]
    anna = Client()
    assert anna.post("/login", {"token": token}).status_code == 302
    assert anna.post("/messages", {"to": "nobody", "body": "x"}).status_code == 404
    assert admin.post("/users/anna/remove").status_code == 302
    assert anna.get("/")["Location"].startswith("/login")
    assert admin.post("/users/anna/link").status_code == 404


@pytest.mark.parametrize(
    ("name", "role", "why"),
    [
        ("operator", "viewer", "it stays"),
        ("scout", "viewer", "an agent's name"),
        ("hive", "admin", "an agent's name"),
        ("Anna", "viewer", "no name for a user"),
        ("a b", "viewer", "no name for a user"),
        ("", "viewer", "no name for a user"),
        ("anna", "root", "is no role"),
    ],
)
def test_what_is_no_user_is_refused(agent, name, role, why) -> None:
    with pytest.raises(Refused, match=why):
        auth.give(name, role)
    assert not User.objects.filter(username=name).exclude(username="operator").exists()


def test_the_hives_own_admin_stays() -> None:
    with pytest.raises(Refused, match="it stays"):
        auth.remove("operator")


def test_a_links_role_is_the_most_that_its_session_may(client, approval) -> None:
    token, _ = auth.mint(role="viewer")
    client.post("/login", {"token": token})
    assert client.get("/").status_code == 200
    assert client.post(f"/approvals/{approval.pk}/deny").status_code == 403
    token, _ = auth.mint()
    client.post("/login", {"token": token})
    assert client.post(f"/approvals/{approval.pk}/deny").status_code == 302


def test_a_link_gives_no_more_than_the_user_has(client) -> None:
    auth.give("anna", "viewer")
    token, _ = auth.mint(user="anna", role="admin")
    client.post("/login", {"token": token})
    assert client.get("/users").status_code == 403


def test_a_link_goes_with_its_user(client) -> None:
    auth.give("anna", "viewer")
    token, _ = auth.mint(user="anna")
    auth.remove("anna")
    assert not SignInLink.objects.exists()
    assert client.post("/login", {"token": token}).status_code == 403


def test_what_changes_something_is_hidden_from_a_viewer(signed_in) -> None:
    assert b'data-role="viewer"' in signed_in("viewer").get("/").content
    assert b'data-role="admin"' in signed_in("admin").get("/").content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("role", "taken"), [("viewer", True), ("", False)])
async def test_a_socket_shows_its_page_to_whoever_has_a_role(signed_in, agent, role, taken) -> None:
    from asgiref.sync import sync_to_async

    client = await sync_to_async(signed_in)(role)
    cookie = client.cookies["hive_session"].value
    headers = [
        (b"origin", b"http://localhost"),
        (b"host", b"localhost"),
        (b"cookie", f"hive_session={cookie}".encode()),
    ]
    socket = WebsocketCommunicator(application, "/live", headers=headers)
    await socket.connect()
    if taken:
        await socket.send_json_to({"after": 0})
        assert "parts" in await socket.receive_json_from(10)
    else:
        assert (await socket.receive_output())["code"] == SIGNED_OUT
    await socket.disconnect()
