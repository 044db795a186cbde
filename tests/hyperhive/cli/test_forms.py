"""How `hive VERB` answers: tables, JSON, ids alone; and how it ends."""

import sys
from types import SimpleNamespace

import pytest

from broker.wire import Refused
from hyperhive.cli import looks
from hyperhive.cli.parser import build
from hyperhive.cli.since import seconds_ago
from hyperhive.management.commands.hive import VERBS

from .fake_host import approval, container, event, message, then, turn

# ---- forms of output


def test_list_reads_as_a_table_with_glyph_and_age(host, hive):
    host.answers["list"] = {"agents": [container(), container("hm1nd", role="manager", state="thinking", inbox=2)]}
    found = hive("list")
    assert found.code == 0
    assert found.out.splitlines()[0].split() == ["NAME", "ROLE", "STATE", "AGE", "INBOX", "DRIVER", "WHY"]
    assert "● idle" in found.out
    assert "3 m" in found.out
    assert "◐ thinking" in found.out
    assert found.err == ""


def test_the_glyphs_are_those_of_the_pages():
    from agents.models import STATES

    assert {state: glyph for state, (glyph, _) in looks.STATES.items()} == STATES


def test_nothing_to_list_is_said_on_stderr(host, hive):
    host.answers["list"] = {"agents": []}
    found = hive("list")
    assert (found.code, found.out) == (0, "")
    assert "no agents yet" in found.err


@pytest.mark.parametrize("argv", [("--json", "list"), ("list", "--json")])
def test_json_is_one_object_of_schema_1_wherever_the_option_stands(host, hive, argv):
    host.answers["list"] = answer = {"agents": [container()]}
    found = hive(*argv)
    assert found.json() == {"schema": 1} | answer
    assert found.out.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "verb", "answer", "lines"),
    [
        (("list",), "list", {"agents": [container(), container("owl")]}, ["scout", "owl"]),
        (("status", "scout"), "status", container(), ["scout"]),
        (("messages",), "messages", {"messages": [message(4), message(9)], "last": 9}, ["4", "9"]),
        (("approvals",), "approvals", {"approvals": [approval(3)]}, ["3"]),
        (("events", "scout"), "events", {"events": [event(7)], "last": 107}, ["7"]),
        (("turns", "scout"), "turns", {"turns": [turn(2)]}, ["turn-2"]),
        (("link",), "link", {"url": "http://x/login#t", "expires_at": then()}, ["http://x/login#t"]),
        (("backup",), "backup", {"path": "/b.sqlite3", "bytes": 9}, ["/b.sqlite3"]),
        (("requeue", "4"), "requeue", message(4), ["4"]),
        (("deny", "3", "--reason", "no"), "deny", approval(3), ["3"]),
    ],
)
def test_quiet_prints_names_and_ids_only(host, hive, argv, verb, answer, lines):
    host.answers[verb] = answer
    assert hive("-q", *argv).out.splitlines() == lines


def test_every_verb_prints_something_to_read(host, hive):
    answers = {
        "status": container(), "why": {"name": "scout", "state": "idle", "why": "", "fix": ""}, "turns": {"turns": [turn()]},
        "events": {"events": [event()], "last": 101}, "logs": {"text": "line\n", "next": 5},
        "link": {"url": "u", "expires_at": then()},
        "messages": {"messages": [message()], "last": 1}, "approvals": {"approvals": [approval()]}, "show": approval(),
        "vacuum": {"deleted": 3}, "backup": {"path": "/b", "bytes": 1}, "requeue": message(), "pause": container(paused=True),
        "resume": container(), "interrupt": container(), "deny": approval(state="denied"), "approve": approval(state="approved"),
    }  # fmt: skip
    host.answers |= answers
    extra = {"deny": ["1", "--reason", "no"], "messages": [], "approvals": [], "vacuum": [], "link": [], "backup": []}
    numbered = dict.fromkeys(("show", "approve", "requeue"), ["1"])
    for verb in answers:
        found = hive(verb, *(extra | numbered).get(verb, ["scout"]))
        assert (found.code, bool(found.out)) == (0, True), verb


def test_status_is_a_check(host, hive):
    host.answers |= {"list": {"agents": [container(), container("owl", state="failing", error="It ended.")]}}
    host.answers |= {"status": [container(), container(state="failing")]}
    assert hive("status").code == 1
    assert hive("status", "scout").code == 0
    assert hive("status", "scout", "--json").code == 1


def test_messages_are_asked_for_by_the_filters(host, hive):
    host.answers["messages"] = {"messages": [], "last": 0}
    hive("messages", "--to", "a", "--from", "b", "--since", "2h", "--limit", 7)
    assert host.said("messages") == [{"to": "a", "sender": "b", "since": 7200.0, "limit": 7}]


def test_a_time_may_be_an_age_or_a_moment():
    assert seconds_ago("10m") == 600
    assert 179 < seconds_ago(then()) < 240
    with pytest.raises(Exception, match="is no time"):
        seconds_ago("yesterday")


# ---- how it ends


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("bad_params", 2),
        ("not_found", 4),
        ("refused", 5),
        ("conflict", 5),
        ("busy", 5),
        ("timed_out", 6),
        ("internal", 1),
        ("unknown_verb", 1),
    ],
)
def test_each_refusal_has_its_exit_code_and_its_sentence(host, hive, kind, code):
    host.answers["why"] = Refused(kind, "That is how it is.")
    found = hive("why", "scout")
    assert (found.code, found.out, found.err) == (code, "", "hive: That is how it is.\n")


def test_a_hive_that_is_not_there_is_named(hive, settings, tmp_path):
    settings.HIVE_RUNTIME_DIR = tmp_path / "nowhere"
    found = hive("list")
    assert found.code == 3
    assert "hive serve" in found.err
    assert str(tmp_path / "nowhere" / "host.sock") in found.err


def test_a_socket_that_cannot_even_be_named_is_not_reachable_either(hive, settings, tmp_path):
    settings.HIVE_RUNTIME_DIR = tmp_path / ("x" * 120)
    assert hive("list").code == 3


def test_an_unknown_verb_is_answered_with_the_nearest(hive):
    found = hive("aprove", "1")
    assert found.code == 2
    assert "'aprove' is not known here. Did you mean 'approve'?" in found.err


def test_wrong_usage_exits_2(hive):
    for argv in ([], ["spawn"], ["show", "one"], ["list", "--nope"], ["messages", "--since", "soon"], ["-v", "list"]):
        assert hive(*argv).code == 2, argv


def test_help_shows_our_verbs_and_none_of_djangos_options(hive):
    found = hive("--help")
    assert found.code == 0
    assert "approvals" in found.out
    for option in ("--settings", "--pythonpath", "--traceback", "--no-color", "--verbosity"):
        assert option not in found.out


def test_every_verb_has_help(hive):
    parser = build(VERBS)
    for verb in VERBS:
        with pytest.raises(SystemExit):
            parser.parse_args([verb, "--help"])


def test_an_argument_that_is_not_text_is_a_usage_error(host, hive):
    host.answers["send"] = message()
    assert hive("send", "scout", "\udcff").code == 2


def test_serve_gets_its_options_and_gives_its_exit_code(hive, monkeypatch):
    given = {}
    fake = SimpleNamespace(serve=lambda **options: given.update(options) or 75)
    monkeypatch.setattr("hyperhive.daemon", fake, raising=False)
    monkeypatch.setitem(sys.modules, "hyperhive.daemon", fake)
    assert hive("serve", "--bind", "127.0.0.1:7001", "--driver", "process", "--trust-agents").code == 75
    assert given == {"bind": "127.0.0.1:7001", "driver": "process", "trust_agents": True, "stop_agents": False}
