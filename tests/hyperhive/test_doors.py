"""Whose doors are opened and closed as agents come, change and go."""

import pytest

from hyperhive.doors import _differences
from lifecycle.models import Container

pytestmark = pytest.mark.django_db


def test_who_comes_who_changes_and_who_goes() -> None:
    for name in ("scout", "forge"):
        Container.spawn(name)
    gone, come = _differences(frozenset())
    assert (gone, {who.name for who in come}) == (set(), {"scout", "forge"})
    there = frozenset(come)
    assert _differences(there) == (set(), [])
    Container.objects.filter(name="scout").update(config={"egress": ["docs.example.org"]})
    Container.objects.filter(name="forge").update(desired=Container.Desired.DESTROYED)
    gone, come = _differences(there)
    assert gone == there
    assert [(who.name, who.allow[-1]) for who in come] == [("scout", "docs.example.org")]


def test_the_same_list_is_kept_once() -> None:
    for name in ("scout", "forge"):
        Container.spawn(name)
    _, [one, other] = _differences(frozenset())
    assert one.allow is other.allow


def test_a_look_in_which_nothing_changed_is_one_statement(django_assert_num_queries) -> None:
    Container.spawn("scout")
    with django_assert_num_queries(1):
        _differences(frozenset())
