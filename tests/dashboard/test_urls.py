"""Every address there is, found in the urlconf: nobody gets in who is not signed in, and reading changes nothing."""

from collections.abc import Iterator

import pytest
from channels.testing import WebsocketCommunicator
from django.apps import apps
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from agents.live import SIGNED_OUT
from broker.models import Message
from dashboard.consumers import websockets
from hyperhive.asgi import application

pytestmark = pytest.mark.django_db

# What stands for a parameter of an address; a new parameter needs a line here.
SAMPLE = {"name": "scout", "verb": "stop", "approval": "1", "message": "1", "number": "1"}
# Whoever has no session may see these; /metrics has a token of its own.
OPEN = {"login", "look", "healthz", "metrics"}


def addresses(patterns: list | None = None, before: str = "") -> Iterator[tuple[str, str]]:
    """Name and path of each."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if not route.startswith("admin/"):  # Django's own, with a test of its own
                yield from addresses(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            for parameter, converter in pattern.pattern.converters.items():
                assert parameter in SAMPLE, f"say in SAMPLE what stands for {parameter!r} of {route}"
                kind = type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
                route = route.replace(f"<{kind}:{parameter}>", SAMPLE[parameter])
            yield str(pattern.name), "/" + route


ALL = sorted(addresses())
PATHS = [path for name, path in ALL if name not in OPEN]


def rows() -> dict[str, list]:
    """Everything in the database but sessions."""
    tables = [model._meta.db_table for model in apps.get_models() if model._meta.label != "sessions.Session"]
    with connection.cursor() as cursor:
        return {table: list(cursor.execute(f"SELECT * FROM {table}")) for table in tables}  # noqa: S608


def test_the_walk_finds_what_is_there() -> None:
    assert len(ALL) > 10
    assert {"index", "approve", "agent", "send"} <= {name for name, _ in ALL}
    assert not [path for _, path in ALL if "<" in path]


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_sent_to_sign_in(client: Client, path: str, agent) -> None:
    for method in (client.get, client.post, client.put, client.delete):
        response = method(path)
        assert response.status_code == 302
        assert response["Location"].startswith("/login?next=")


def test_no_get_changes_anything(operator: Client, agent, approval) -> None:
    Message.send("hm1nd", "scout", "hi")
    before = rows()
    for path in PATHS:
        for headers in ({}, {"HX-Request": "true"}):
            assert operator.get(path, headers=headers).status_code < 500, path
            assert rows() == before, f"GET {path} changes something"


@pytest.mark.parametrize("path", [path for _, path in ALL])
def test_a_post_without_a_token_changes_nothing(operator: Client, agent, approval, path: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    before = rows()
    assert strict.post(path, {"seen": approval.sha256, "to": "scout", "body": "x"}).status_code in (403, 405)
    assert rows() == before


@pytest.mark.parametrize("route", websockets, ids=str)
@pytest.mark.django_db(transaction=True)
async def test_no_socket_opens_for_a_stranger(route) -> None:
    path = "/" + str(route.pattern).replace("<str:name>", "scout")
    headers = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
    socket = WebsocketCommunicator(application, path, headers=headers)
    connected, _ = await socket.connect()
    if connected:
        assert (await socket.receive_output())["code"] == SIGNED_OUT
    await socket.disconnect()
