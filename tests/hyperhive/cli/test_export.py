"""`hive export`: all of it, page by page, in three forms, with nothing hostile left in them."""

import csv
import io
import json

import pytest

from broker.wire import Refused

from .fake_host import HOSTILE, approval, container, event, message, turn


def paged(key, rows, cursor="id"):
    """Answers as the hive does: what comes after the cursor, at most `limit`."""

    def answer(params):
        found = [row for row in rows if row[cursor] > params["after"]][: params["limit"]]
        return {key: found, "last": found[-1][cursor] if found else params["after"]}

    return answer


def test_every_message_once_and_in_order(host, hive):
    host.answers["messages"] = paged("messages", [message(id) for id in range(1, 451)])
    found = hive("export", "messages")
    assert [json.loads(line)["id"] for line in found.out.splitlines()] == list(range(1, 451))
    assert json.loads(found.out.splitlines()[0])["schema"] == 1
    assert len(host.said("messages")) == 4


def test_only_one_agents_and_only_what_is_young(host, hive):
    old = "2020-01-01T00:00:00+00:00"
    host.answers["messages"] = paged(
        "messages", [message(1), message(2, sender="forge", recipient="hm1nd"), message(3, created_at=old)]
    )
    found = hive("export", "messages", "--agent", "scout", "--since", "7d")
    assert [json.loads(line)["id"] for line in found.out.splitlines()] == [1]


def test_events_of_all_agents(host, hive):
    host.answers["list"] = {"agents": [container("scout"), container("forge")]}
    host.answers["events"] = lambda params: paged("events", [event(1), event(2)])(params)
    found = hive("export", "events", "-q")
    assert len(found.out.splitlines()) == 4
    assert {params["name"] for params in host.said("events")} == {"scout", "forge"}


def test_csv_runs_no_formula(host, hive):
    body = '=HYPERLINK("http://evil.example","x")'
    host.answers["messages"] = paged("messages", [message(1, body=body), message(2, body="a, b\n" + HOSTILE)])
    found = hive("export", "messages", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(found.out)))
    assert rows[0]["body"] == "'" + body
    assert (rows[0]["id"], rows[0]["sender"]) == ("1", "scout")
    assert "\x1b" not in found.out
    assert len(rows) == 2


def test_a_transcript(host, hive):
    said = {"message": {"content": [{"type": "text", "text": "```\nno way out\n```"}]}}
    host.answers["turns"] = paged("turns", [turn(1), turn(2)], "number")
    host.answers["events"] = paged(
        "events", [event(1, turn="turn-1", payload=said), event(2, turn=None), event(3, turn="turn-2")]
    )
    found = hive("export", "turns", "--agent", "scout", "--format", "md")
    first, second = found.out.split("## scout, turn 2")
    assert "## scout, turn 1" in first
    assert "````\n```\nno way out\n```\n````" in first
    assert "I look." in second
    assert "I look." not in first


def test_approvals_and_nothing(host, hive):
    host.answers["approvals"] = paged("approvals", [approval(1), approval(2, state="denied")])
    assert len(hive("export", "approvals").out.splitlines()) == 2
    host.answers["messages"] = paged("messages", [])
    found = hive("export", "messages")
    assert (found.code, found.out) == (0, "")
    assert "nothing to export" in found.err


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("messages", "--format", "md"), 2, "md is for turns"),
        (("mesages",), 2, "Did you mean 'messages'"),
        (("messages", "--since", "yesterday"), 2, "no time"),
    ],
)
def test_what_makes_no_sense_is_said(host, hive, argv, code, words):
    found = hive("export", *argv)
    assert found.code == code
    assert words in found.err


def test_a_refusal_in_the_middle_ends_it(host, hive):
    first = {"messages": [message(1)], "last": 1}
    host.answers["messages"] = [first, Refused("busy", "The hive is busy.")]
    found = hive("export", "messages")
    assert (found.code, len(found.out.splitlines())) == (5, 1)
