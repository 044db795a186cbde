"""`hive login`: the link on stdout, the code from a terminal, an option or stdin, and how it ends."""

import json

import pytest

from broker.wire import Refused

from .fake_host import HOSTILE, finished, on_a_terminal, then

LINK = "https://claude.ai/oauth/authorize?z-1"


def row(state, **other):
    return {
        "name": "scout", "state": state, "since": then(), "until": None, "link": LINK if state == "waiting" else "",
        "words": "", "logged_in": False, "account": "",
    } | other  # fmt: skip


OK = row("ok", logged_in=True, account="claude.ai · max")
AGAIN = row("waiting", words="Invalid code.")


@pytest.fixture
def login(host):
    host.answers |= {"login": row("starting"), "login_state": [row("starting"), row("waiting")], "login_code": OK}
    return host


def test_the_link_is_all_that_stdout_has(login, hive):
    found = hive("login", "scout")
    assert (found.code, found.out) == (0, f"{LINK}\n")
    assert "hive login scout --code CODE" in found.err
    assert hive("login", "scout", "-q").out == f"{LINK}\n"
    assert hive("login", "scout", "--json").json()["link"] == LINK
    assert "█ ▄▄▄▄▄ █" in hive("login", "scout", "--qr").err


def test_a_terminal_is_asked_for_the_code_until_it_is_taken(login):
    login.answers["login_state"] = [row("waiting"), AGAIN, OK]
    login.answers["login_code"] = row("checking")
    code, shown = on_a_terminal(login, "login", "scout", typed=b"half\n", each=True)
    assert code == 0
    assert LINK in shown
    assert "Invalid code." in shown
    assert "scout is logged in: claude.ai · max." in shown
    assert [said["code"] for said in login.said("login_code")] == ["half", "half"]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (OK, 0, "scout: logged in, claude.ai · max"),
        (row("failed", words="Login failed: 400"), 1, "Login failed: 400"),
        (AGAIN, 2, "Invalid code."),
        (Refused("conflict", "No login of scout waits for a code."), 5, "waits for a code"),
    ],
)
def test_a_code_that_is_given_ends_with_what_claude_says(login, hive, answer, code, words):
    login.answers["login_code"] = answer if isinstance(answer, Refused) else row("checking")
    login.answers["login_state"] = answer
    found = hive("login", "scout", "--code", "a#b")
    assert found.code == code
    assert words in found.out + found.err


def test_a_code_from_stdin_stands_in_no_list_of_processes(login, tmp_path):
    (tmp_path / "code").write_text("a#b\n")
    with open(tmp_path / "code") as stdin:
        found = finished(login.path, "login", "scout", "--code", "-", stdin=stdin)
    assert found.code == 0
    assert login.said("login_code") == [{"name": "scout", "code": "a#b"}]


def test_a_harness_that_does_not_answer_is_a_time_out(login, hive):
    login.answers["login_state"] = row("starting")
    assert hive("login", "scout", "--timeout", "0.5").code == 6


def test_logging_out(login, hive):
    login.answers["logout"] = row("")
    assert hive("logout", "scout").code == hive("login", "scout", "--logout").code == 0
    assert login.said("logout") == [{"name": "scout"}] * 2


def test_what_claude_says_cannot_steer_the_terminal(login, hive):
    login.answers["login_state"] = row("failed", words=HOSTILE)
    found = hive("login", "scout")
    assert found.code == 1
    assert "\x1b" not in found.err
    assert json.dumps("\\x1b")[1:-1].replace("\\\\", "\\") in found.err
