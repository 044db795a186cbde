"""Names: the rule, what is reserved, and a suggestion that is itself valid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire import Refused
from lifecycle import names


@pytest.mark.parametrize("name", ["a", "scout", "a1", "a-b", "abcdefghi", "x9-9y"])
def test_a_plain_name_is_taken(name):
    assert names.check(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "1a",
        "-a",
        "a-",
        "a_b",
        "a b",
        "a\n",
        "abcdefghij",
        "é",
        "①",
        "../x",
        "a/b",
        "a\x00",
        "x" * 5000,
        None,
        7,
    ],
)
def test_anything_else_is_refused_with_the_rule_and_a_name_that_would_do(name):
    with pytest.raises(Refused, match="1 to 9 of a-z, 0-9 and '-'") as refusal:
        names.check(name)
    assert names.check(str(refusal.value).rsplit("'", 2)[1])


@pytest.mark.parametrize("name", ["operator", "hive", "host", "all", "everyone", "manager", "hm1nd"])
def test_a_reserved_name_is_refused_as_such(name):
    with pytest.raises(Refused, match="reserved"):
        names.check(name)


def test_a_suggestion_avoids_what_is_taken():
    assert names.suggest("Scout!", {"scout"}) == "scout-2"
    assert names.suggest("My Great Scout", set()) == "my-great"


@given(st.text(max_size=30))
def test_whatever_is_asked_for_the_suggestion_is_valid(name):
    assert names.check(names.suggest(name))


@given(st.text(max_size=12))
def test_nothing_but_the_rule_gets_through(name):
    try:
        names.check(name)
    except Refused:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(name) <= 9
