"""What needs a yes: asked once, decided once, carried out once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from approvals.models import Approval
from broker.models import HIVE, Mailbox, Message
from broker.wire import Refused
from lifecycle.models import Container

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def mailboxes() -> None:
    Mailbox.objects.create(name=HIVE, role="hive", open=False)
    Mailbox.objects.create(name="hm1nd", role="manager")


def asked(name: str = "scout", **config: object) -> Approval:
    return Approval.request_spawn("hm1nd", name, "to look around", config or None)


def told() -> list[str]:
    return list(Message.objects.filter(recipient="hm1nd").values_list("body", flat=True))


def test_a_yes_spawns_and_tells_the_manager() -> None:
    approval = asked()
    approval.approve("operator", "a test", approval.sha256)
    Approval.carry_out_all()
    approval.refresh_from_db()
    assert approval.state == "applied"
    assert Container.named("scout").op == "start"
    assert told() == [
        f"Your request #{approval.pk} (spawn scout) was approved by operator and applied: scout is starting."
    ]


def test_what_was_applied_is_not_applied_again() -> None:
    approval = asked()
    approval.approve("operator", "a test", approval.sha256)
    for _ in range(3):
        Approval.carry_out_all()
        approval.carry_out()
    assert Container.objects.count() == 1
    assert len(told()) == 1


def test_what_a_crash_cut_off_is_carried_out_at_the_next_start() -> None:
    approval = asked()
    approval.approve("operator", "a test", approval.sha256)
    Approval.objects.update(state=Approval.State.APPLYING)
    Approval.carry_out_all()
    assert Container.objects.filter(name="scout").exists()


def test_a_no_carries_its_reason_to_the_manager() -> None:
    approval = asked()
    approval.deny("operator", "a test", "not today")
    assert told() == [f"Your request #{approval.pk} (spawn scout) was denied by operator: not today"]
    Approval.carry_out_all()
    assert not Container.objects.exists()


def test_the_second_decision_hears_of_the_first() -> None:
    approval = asked()
    approval.deny("operator", "the page")
    with pytest.raises(Refused, match="already denied, by operator from the page"):
        approval.approve("operator", "the command line", approval.sha256)


def test_a_yes_to_other_bytes_than_these_is_refused() -> None:
    approval = asked()
    with pytest.raises(Refused, match="look again"):
        approval.approve("operator", "a test", "0" * 64)
    approval.refresh_from_db()
    assert approval.state == "pending"


def test_a_later_request_for_the_name_takes_the_earlier_ones_place() -> None:
    first, second = asked(), asked(model="opus")
    first.refresh_from_db()
    assert (first.state, second.state) == ("superseded", "pending")


def test_what_nobody_decided_expires_and_is_not_granted() -> None:
    approval = asked()
    assert Approval.expire() == 0
    Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Approval.expire() == 1
    with pytest.raises(Refused, match="already expired"):
        approval.approve("operator", "a test", approval.sha256)
    assert "expired" in told()[0]


def test_a_name_taken_meanwhile_fails_and_says_so() -> None:
    approval = asked()
    approval.approve("operator", "a test", approval.sha256)
    Container.spawn("scout")
    Approval.carry_out_all()
    approval.refresh_from_db()
    assert approval.state == "failed"
    assert "already exists" in approval.error
    assert "it failed" in told()[0]


@pytest.mark.parametrize(
    ("name", "why", "config"),
    [("Not A Name", "x", None), ("scout", " ", None), ("scout", "x" * 1001, None), ("scout", "x", {"modle": "opus"})],
)
def test_what_could_not_be_carried_out_is_refused_at_once(name: str, why: str, config: dict | None) -> None:
    with pytest.raises(Refused):
        Approval.request_spawn("hm1nd", name, why, config)
    assert not Approval.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_sixty_four_at_once_one_decides() -> None:
    approval = asked()
    won, gate = [], threading.Barrier(64, timeout=60)

    def decide(number: int) -> None:
        mine = Approval.objects.get(pk=approval.pk)
        gate.wait()
        try:
            if number % 2:
                mine.approve(f"operator-{number}", "a test", approval.sha256)
            else:
                mine.deny(f"operator-{number}", "a test")
            won.append(number)
        except Refused as refused:
            assert refused.word == "already_decided"  # noqa: PT017
        finally:
            connections.close_all()

    assert connection.vendor == "sqlite"
    with ThreadPoolExecutor(max_workers=64) as threads:
        list(threads.map(decide, range(64)))
    assert len(won) == 1
    approval.refresh_from_db()
    assert approval.decided_by == f"operator-{won[0]}"
