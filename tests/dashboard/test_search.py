"""Search: what is typed is found where it should be, the filters narrow it, and nothing that is typed is an error."""

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import Event
from approvals.models import Approval
from broker.models import Message
from dashboard import indexing, search
from dashboard.indexing import Indexed, Minute

from .conftest import container

pytestmark = pytest.mark.django_db


def said(sender: str, to: str, body: str) -> int:
    message = Message.send(sender, to, body)
    indexing.all_of_it()
    return message.pk


def messages(typed: str) -> list[int]:
    return [int(hit.title.split()[0][1:]) for hit in search.messages(search.parsed(typed))]


@pytest.fixture
def talk(agent, manager) -> dict[str, int]:
    container("web-reader")
    return {
        "paper": said("hm1nd", "scout", "read the paper on fairness of long polls"),
        "answer": said("scout", "hm1nd", "the paper says: Fairness costs a naïve queue 5 %"),
        "other": said("operator", "web-reader", "look at docs.example.org/a_b"),
    }


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("paper", ["answer", "paper"]),
        ("PAPER fairness", ["answer", "paper"]),
        ("fair", ["answer", "paper"]),
        ("naive", ["answer"]),
        ('"paper on fairness"', ["paper"]),
        ("paper -naïve", ["paper"]),
        ("from:scout", ["answer"]),
        ("from:SCOUT paper", ["answer"]),
        ("to:scout", ["paper"]),
        ("agent:scout", ["answer", "paper"]),
        ("agent:scout from:hm1nd", ["paper"]),
        ("to:web", []),
        ("to:web-reader", ["other"]),
        ("docs.example.org", ["other"]),
        ("body", []),
        ("scout", []),
        ("before:1d", []),
        ("before:2999-01-01 paper", ["answer", "paper"]),
        ("paper before:yesterday", ["answer", "paper"]),
    ],
)
def test_messages(talk, typed, found):
    assert messages(typed) == [talk[name] for name in found]


def test_before_finds_the_older_ones(talk):
    for days, name in ((9, "paper"), (5, "answer"), (1, "other")):
        Message.objects.filter(pk=talk[name]).update(created_at=timezone.now() - timedelta(days=days))
    assert messages("before:7d") == [talk["paper"]]
    assert messages("before:2d") == [talk["answer"], talk["paper"]]
    assert messages(f"before:{timezone.now() - timedelta(days=3):%Y-%m-%d} fairness") == [talk["answer"], talk["paper"]]
    assert messages("before:1m") == [talk["other"], talk["answer"], talk["paper"]]


def test_all_groups_are_looked_through(operator, talk, approval):
    Event.objects.create(agent="scout", seq=1, kind="log", payload={"text": "a wörd about sonar"})
    Approval.objects.filter(pk=approval.pk).update(state="denied", reason="no sonar now", decided_at=timezone.now())
    page = operator.get("/search", {"q": "sonar"}).content.decode()
    for words in (
        f"#{approval.pk} Spawn sonar · Denied",
        "<mark>sonar</mark>",
        "scout · log",
        "/agents/scout/?at=",
        "#event-",
    ):
        assert words in page
    assert "scout · log" in operator.get("/search", {"q": "wörd"}).content.decode()
    assert "scout · log" not in operator.get("/search", {"q": "wörd -sonar"}).content.decode()
    assert "scout · log" in operator.get("/search", {"q": "agent:scout about"}).content.decode()
    assert "scout · log" not in operator.get("/search", {"q": "agent:hm1nd about"}).content.decode()
    assert "/agents/scout/" in operator.get("/search", {"q": "scou"}).content.decode()
    assert "what do you look for" in operator.get("/search", {"q": "-sonar"}).content.decode()
    assert "nothing matches “xyzzy”" in operator.get("/search", {"q": "xyzzy"}).content.decode()


def test_the_list_of_ctrl_k_has_acts_by_their_plain_names(operator, agent):
    html = operator.get("/search", {"q": "stop sco"}, HTTP_HX_REQUEST="true").content.decode()
    assert '<a href="/ask/scout/stop" data-ask><b>stop scout</b></a>' in html
    assert "panic" in operator.get("/search", HTTP_HX_REQUEST="true").content.decode()


# ---- events -----------------------------------------------------------------------------------------------------------


def log(*texts: str, agent: str = "scout") -> list[int]:
    newest = Event.objects.filter(agent=agent).count()
    rows = [
        Event(agent=agent, seq=newest + number, kind="log", payload={"text": text})
        for number, text in enumerate(texts, 1)
    ]
    return [row.pk for row in Event.objects.bulk_create(rows)]


def numbers(hits: list[search.Hit]) -> list[int]:
    return [int(hit.href.rpartition("-")[2]) for hit in hits]


def test_events_are_found_by_what_they_say_and_not_by_their_keys(agent):
    one, two = log("the first text", "another")
    Event.objects.filter(pk=two).update(payload={"deep": [{"text": "x" * 5000}, {"more": "the first: far behind"}]})
    for typed, expected in (
        ("first", [two, one]),
        ("first -far", [one]),
        ("deep", []),
        ("text", [one]),
        ("-text x", [two]),
    ):
        hits, reach = search.events(search.parsed(typed))
        assert (numbers(hits), reach) == (expected, (2, None, 0)), typed
    assert search.events(search.parsed("far"))[0][0].text[1] == "far", "although the line on the page ends before it"
    assert search.events(search.parsed("agent:scout before:1d"))[0] == []


def test_the_search_of_events_ends_when_its_time_is_up_and_says_where_to_go_on(operator, agent, monkeypatch):
    needle, *_ = log("needle", *["hay"] * 24)
    monkeypatch.setattr(search, "BATCH", 10)
    monkeypatch.setattr(search, "TIME", -1)
    hits, reach = search.events(search.parsed("needle"))
    assert (hits, reach.looked) == ([], 10)
    page = operator.get("/search", {"q": "needle"}).content.decode()
    assert "10 events were looked through, back to" in page
    assert f"/search?q=needle&amp;before={reach.on}" in page
    looked = reach.looked
    while reach.on:
        hits, reach = search.events(search.parsed("needle"), reach.on)
        looked += reach.looked
    assert looked == 25
    assert (
        "All events that are kept here" in operator.get("/search", {"q": "needle", "before": needle}).content.decode()
    )


def test_more_events_than_are_shown_are_reached_too(agent):
    pks = log(*["hay"] * (search.MOST + 5))
    hits, reach = search.events(search.parsed("hay"))
    assert (numbers(hits), reach.on) == (pks[:4:-1], pks[5])
    assert numbers(search.events(search.parsed("hay"), reach.on)[0]) == pks[4::-1]


def test_a_batch_of_one_agents_events_is_found_by_its_index(agent):
    batch = Event.objects.filter(agent="scout", pk__lt=search.LAST).order_by("-pk").values_list("pk")[: search.BATCH]
    assert "COVERING INDEX" in batch.explain()


HOSTILE = [
    'a"b', 'from:a"b', 'x -a"b', 'a"*', 'agent:a" OR "b',
    '"', '""', "'", "*", "a*", "^a", "-", "--", "(", ")", "(a OR", "a AND", "NOT", "NEAR(a b)", "NEAR(", "body:", "{body}:a",
    "body : a", "a + b", '"a" OR "b', "from:", 'from:"', "from:'; DROP TABLE broker_message; --", "to:*", "agent:(", "before:",
    "before:0000-00-00", "before:9999w", "before:9999-12-31T23:59:59+14:00", "before:0001-01-01T00:00:00+23:59", "\x00", "a\x00b",
    "%", "_", "\\", "ﷺ", "日本語", "\u202e", "🐝", "𝔘", "a" * 5000, "a " * 500, "-a " * 500, "from:a " * 50, "²", "०", "ᚠ",
    "\ufdfd",
]  # fmt: skip


@pytest.mark.parametrize("typed", HOSTILE)
def test_nothing_that_is_typed_is_an_error(operator, talk, typed):
    for headers in ({}, {"HTTP_HX_REQUEST": "true"}):
        assert operator.get("/search", {"q": typed}, **headers).status_code == 200


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.one_of(st.sampled_from('"*()-:{}^+~ ANDORTfromtobefore\x00'), st.characters(codec="utf-8")), max_size=40)
)
def test_whatever_is_typed_is_a_search(talk, typed):
    search.found(search.parsed(typed))


# ---- the index --------------------------------------------------------------------------------------------------------


def test_the_index_takes_in_every_message_once_in_batches_that_stay_short(agent):
    for number in range(7):
        Message.send("hm1nd", "scout", f"word{number} " + "x" * 60_000)
    sizes = []
    while count := indexing.some():
        sizes.append(count)
    assert sizes == [2, 2, 2, 1]
    assert [len(messages(f"word{number}")) for number in range(7)] == [1] * 7
    assert indexing.some() == 0
    assert not indexing.behind()
    assert sum(Minute.objects.values_list("messages", flat=True)) == 7
    assert sum(count for _, count in indexing.a_minute()) == 7


def test_what_the_vacuum_deletes_is_found_no_more_and_leaves_no_words(talk):
    Message.objects.filter(pk=talk["paper"]).delete()
    assert messages("paper") == [talk["answer"]]
    with_words = "SELECT count(*) FROM dashboard_words WHERE dashboard_words MATCH 'polls'"
    assert indexing.hot.rows(with_words) == [(0,)]
    indexing.hot.rows("INSERT INTO dashboard_words (dashboard_words, rank) VALUES ('integrity-check', 1)")


def test_a_message_that_is_deleted_before_it_is_taken_in_harms_nothing(agent):
    first, second = Message.send("hm1nd", "scout", "early"), Message.send("hm1nd", "scout", "late")
    Message.objects.filter(pk=first.pk).delete()
    indexing.all_of_it()
    assert messages("early") == []
    assert messages("late") == [second.pk]
    assert Indexed.objects.get().upto == second.pk
    indexing.hot.rows("INSERT INTO dashboard_words (dashboard_words, rank) VALUES ('integrity-check', 1)")
