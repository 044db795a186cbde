"""One link, one sign-in."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from dashboard import auth
from dashboard.models import SignInLink

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_wrong_tries():
    cache.clear()


def test_a_link_lets_in_once(client):
    token, expires = auth.mint()
    assert timedelta(minutes=9) < expires - timezone.now() <= timedelta(minutes=10)
    response = client.post("/login", {"token": token, "next": "/agents/scout/"})
    assert (response.status_code, response["Location"]) == (302, "/agents/scout/")
    assert client.get("/").status_code == 200
    client.post("/logout")
    assert client.get("/").status_code == 302
    assert client.post("/login", {"token": token}).status_code == 403


def test_only_the_hash_of_a_token_is_kept():
    token, _ = auth.mint()
    assert token not in SignInLink.objects.get().sha256


def test_an_old_link_lets_nobody_in(client):
    token, _ = auth.mint()
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.post("/login", {"token": token}).status_code == 403
    auth.mint()
    assert SignInLink.objects.count() == 1


def test_the_operator_has_no_password(client):
    token, _ = auth.mint()
    client.post("/login", {"token": token})
    user = auth.operator()
    assert (user.username, user.is_superuser, user.has_usable_password()) == ("operator", True, False)


def test_guessing_is_slowed(client):
    token, _ = auth.mint()
    assert {client.post("/login", {"token": f"wrong {n}"}).status_code for n in range(5)} == {403}
    slowed = client.post("/login", {"token": token})
    assert (slowed.status_code, slowed["Retry-After"]) == (429, "60")
    assert client.post("/login", {"token": token}, REMOTE_ADDR="10.0.0.9").status_code == 302


@pytest.mark.parametrize("page", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_signing_in_leads_to_no_other_host(client, page):
    token, _ = auth.mint()
    assert client.post("/login", {"token": token, "next": page})["Location"] == "/"


def test_odd_tokens_are_just_wrong(client):
    for token in ("", "\0", "é" * 300, "\ud800"):
        assert client.post("/login", {"token": token.encode("utf-8", "surrogatepass")}).status_code in (403, 429)
