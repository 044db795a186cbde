"""A login as a row: what the operator may wish when, what a harness may say of it, and where the code is not."""

from datetime import timedelta

import pytest
from django.core import serializers
from django.utils import timezone

from agents.logins import CODES, Login
from broker.wire import Refused

pytestmark = pytest.mark.django_db
LINK = "https://claude.ai/oauth/authorize?z-1"


def says(login, state, takes=None, link="", words="", logged_in=None, account=""):
    login = Login.of(login.agent)
    login.says(state, login.number if takes is None else takes, link, words, logged_in, account)
    return Login.of(login.agent)


@pytest.fixture
def begun():
    Login.of("scout").begin()
    login = Login.of("scout")
    assert login.next() == {"wish": "start", "number": 1}
    says(login, "starting")
    return says(login, "waiting", link=LINK)


@pytest.fixture(autouse=True)
def no_codes():
    CODES.clear()


def test_from_the_link_to_the_account(begun):
    assert (begun.state, begun.link, begun.wish) == ("waiting", LINK, "")
    begun.give(" good#code\n")
    assert Login.of("scout").next() == {"wish": "code", "number": 2, "code": "good#code"}
    says(begun, "checking")
    done = says(begun, "ok", logged_in=True, account="claude.ai · max")
    assert (done.state, done.link, done.account) == ("ok", "", "claude.ai · max")


def test_the_code_is_in_no_row_and_forgotten_once_it_was_taken(begun):
    begun.give("good#code")
    assert "good#code" not in serializers.serialize("json", Login.objects.all())
    assert "good#code" not in repr(Login.of("scout").as_json())
    says(begun, "checking")
    assert CODES == {}


def test_a_wish_is_given_again_until_it_was_taken_up(begun):
    begun.give("good#code")
    CODES.clear()  # as a restart of the hive does
    assert Login.of("scout").next() == Login.of("scout").next() == {"wish": "code", "number": 2, "code": ""}


@pytest.mark.parametrize("code", ["", "two words", "x" * 2001, "a\x1b#b", "é#b"])
def test_a_code_is_one_plain_word(begun, code):
    with pytest.raises(Refused) as refused:
        begun.give(code)
    assert refused.value.word == "bad_code"
    assert CODES == {}


def test_a_code_is_taken_only_while_it_is_asked_for(begun):
    begun.cancel()
    with pytest.raises(Refused, match="begin one first"):
        Login.of("scout").give("good#code")
    with pytest.raises(Refused, match="under way"):
        Login.of("scout").cancel()


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/oauth/authorize?x",
        "http://claude.ai/oauth/authorize?x",
        "https://claude.ai.evil.example/oauth/authorize?x",
        "https://claude.ai@evil.example/oauth/authorize?x",
        "https://claude.ai/oauth/authorize?x y",
        "javascript:alert(1)//claude.ai/oauth/authorize?x",
        "https://claude.ai/oauth/authorize?\u202ex",
    ],
)
def test_an_agent_sends_the_operator_to_claudes_sign_in_and_nowhere_else(link):
    Login.of("scout").begin()
    with pytest.raises(Refused) as refused:
        says(Login.of("scout"), "waiting", link=link)
    assert refused.value.word == "bad_link"
    assert Login.of("scout").link == ""


def test_an_agent_shows_no_link_that_nobody_asked_for(begun):
    begun.cancel()
    with pytest.raises(Refused, match="Nobody has begun"):
        says(begun, "waiting", link=LINK)


def test_of_an_older_wish_nothing_is_shown(begun):
    begun.begin()
    assert says(begun, "failed", takes=1, words="late").state == "starting"


def test_a_harness_that_begins_ends_what_the_one_before_had_under_way(begun):
    after = says(begun, "", takes=0, logged_in=False)
    assert (after.state, after.logged_in) == ("failed", False)
    assert "restarted" in after.words


def test_but_it_takes_up_a_wish_that_still_waits():
    Login.of("scout").begin()
    after = says(Login.of("scout"), "", takes=0, logged_in=False)
    assert (after.state, after.next()["wish"]) == ("starting", "start")


def test_nothing_waits_past_its_time(begun):
    Login.objects.update(until=timezone.now() - timedelta(seconds=1))
    late = Login.of("scout")
    assert (late.as_json()["state"], late.as_json()["link"], late.under_way) == ("failed", "", False)
    with pytest.raises(Refused, match="begin one first"):
        late.give("good#code")
    Login.objects.update(wish="start")
    assert Login.of("scout").next()["wish"] == ""
