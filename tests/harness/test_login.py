"""Logging in over pipes: a scripted `claude auth login` with the lines of every version, and the real one up to its link."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.login import Dialog, account
from hyperhive.demo.model import ScriptedModel

from .conftest import PROJECT, Nest

pytestmark = pytest.mark.timeout(90)
SCRIPT = PROJECT / "tests" / "scripted_login.sh"
SEEN = ("2.1.143", "2.1.197", "2.1.270", "2.1.330")
LINKS = {
    "2.1.330": "https://claude.ai/oauth/authorize?z-wXyZ0123456789wXyZ0123456789wXyZ0123456789",
    "": "https://claude.com/cai/oauth/authorize?code=true&client_id=9d1c&state=wXyZ0123456789wXyZ0123456789wXyZ0123456789",
}


def scripted(version: str, folder: Path) -> Path:
    """A claude of that version, as far as logging in goes."""
    program = folder / "scripted-claude"
    program.write_text(SCRIPT.read_text().replace("@VERSION@", version))
    program.chmod(0o755)
    return program


@pytest.fixture
async def home(tmp_path_factory: Any, model: ScriptedModel, version: str) -> AsyncIterator[Nest]:
    """A harness whose claude is scripted and not logged in."""
    nest = Nest(tmp_path_factory.mktemp("n"), model, version)
    nest.configure(model_url=None)
    nest.env["HIVE_CLAUDE"] = str(scripted(version, nest.folder))
    await nest.host.back()
    await nest.start()
    yield nest
    await nest.end()
    await nest.host.gone()
    assert nest.marked() == []


def last(nest: Nest) -> dict[str, Any]:
    return nest.host.logins[-1] if nest.host.logins else {"state": None}


async def reaches(nest: Nest, state: str) -> dict[str, Any]:
    await nest.host.until(lambda: last(nest)["state"] == state)
    return last(nest)


@pytest.mark.parametrize("version", SEEN)
async def test_a_login_with_the_lines_of_each_version(home: Nest, version: str) -> None:
    await home.host.until(lambda: last(home).get("logged_in") is False)
    await home.host.until(lambda: home.host.states()[-1:] == ["login"])
    await home.host.wishes("start")
    assert (await reaches(home, "waiting"))["link"] == LINKS.get(version, LINKS[""])

    await home.host.wishes("code", code="half-a-code")
    await home.host.until(lambda: "full code" in last(home).get("words", ""))
    assert last(home)["state"] == "waiting"

    await home.host.wishes("code", code="good#code")
    told = await reaches(home, "ok")
    assert (told["logged_in"], told["account"]) == (True, "claude.ai · max · me@example.org")
    await home.host.until(lambda: home.host.states()[-1] == "idle")
    assert "good#code" not in repr(home.host.events) + home.log()


@pytest.mark.parametrize("version", SEEN[2:])
async def test_a_code_that_is_not_taken_ends_in_claudes_own_words_without_the_code(home: Nest, version: str) -> None:
    await home.host.wishes("start")
    await reaches(home, "waiting")
    await home.host.wishes("code", code="evil-evil#secret-half")
    words = (await reaches(home, "failed"))["words"]
    assert "status code 400 for …" in words
    assert "secret-half" not in repr(home.host.logins) + repr(home.host.events) + home.log()


@pytest.mark.parametrize("version", SEEN[3:])
async def test_what_was_held_goes_on_after_a_login_and_is_held_again_after_a_logout(home: Nest) -> None:
    await home.host.post("work")
    await home.host.until(lambda: home.host.releases)
    assert (home.host.releases[0]["turn"]["outcome"], home.host.releases[0]["how"]) == ("not_logged_in", "hold")
    await home.host.wishes("start")
    await reaches(home, "waiting")
    await home.host.wishes("code", code="good#code")
    await home.host.until(lambda: home.host.acks)
    await home.host.until(lambda: home.host.states()[-1] == "idle")

    await home.host.wishes("logout")
    await home.host.until(lambda: last(home).get("logged_in") is False)
    await home.host.until(lambda: home.host.states()[-1] == "login")


@pytest.mark.parametrize("version", SEEN[3:])
async def test_a_login_is_called_off_and_begun_anew_and_none_is_left_running(home: Nest) -> None:
    await home.host.wishes("start")
    await reaches(home, "waiting")
    await home.host.wishes("start")
    await home.host.until(lambda: [told["state"] for told in home.host.logins].count("waiting") == 2)
    assert logins(home) == 1
    await home.host.wishes("cancel")
    await reaches(home, "")
    assert logins(home) == 0
    await home.host.wishes("code", code="good#code")
    assert "begin anew" in (await reaches(home, "failed"))["words"]


def logins(nest: Nest) -> int:
    return sum(b"auth\0login" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in nest.marked())


@pytest.mark.parametrize("version", SEEN[3:])
async def test_a_turn_beside_a_login_does_not_end_it(home: Nest) -> None:
    await home.host.wishes("start")
    await reaches(home, "waiting")
    await home.host.post("work")
    await home.host.until(lambda: home.host.releases)
    await home.host.wishes("code", code="good#code")
    await reaches(home, "ok")


async def test_a_login_that_nobody_finishes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    told: list[Any] = []

    async def tell(*what: Any, **how: Any) -> None:
        told.append(what)

    dialog = Dialog(SimpleNamespace(_tell=tell))  # type: ignore[arg-type]
    env = {"CLAUDE_CONFIG_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await dialog.go([str(scripted("2.1.330", tmp_path)), "auth", "login"], env, SimpleNamespace(workspace="/"))  # type: ignore[arg-type]
    assert told == [("waiting",)]
    assert dialog.process
    assert dialog.process.returncode == -9


@pytest.mark.claude
async def test_the_real_claude_shows_its_link_without_a_network_and_asks_again_for_half_a_code(nest: Nest) -> None:
    nest.configure(model_url=None)
    await nest.start()
    await nest.host.until(lambda: last(nest).get("logged_in") is False)
    await nest.host.wishes("start")
    assert "/oauth/authorize?" in (await reaches(nest, "waiting"))["link"]
    await nest.host.wishes("code", code="half-a-code")
    await nest.host.until(lambda: "full code" in last(nest).get("words", ""))
    await nest.host.wishes("code", code="an-invented#code")
    told = await reaches(nest, "failed")
    assert told["words"].lower().startswith(("couldn't log in", "login failed"))
    assert told["logged_in"] is False


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ('{"loggedIn": false, "authMethod": "none"}', {"logged_in": False, "account": ""}),
        ('{"loggedIn": true, "authMethod": "api_key"}', {"logged_in": True, "account": "an API key"}),
        ('{"loggedIn": true, "authMethod": "x", "email": null}', {"logged_in": True, "account": "x"}),
        ("Error: no such command", {}),
        ("[]", {}),
        ("", {}),
    ],
)
def test_what_claude_says_of_its_account(text: str, known: dict[str, Any]) -> None:
    assert account(text) == known
