"""The broker's promises, one message at a time."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from broker import events, hot
from broker.age import DAY, Age
from broker.events import Taker
from broker.models import ATTEMPTS, BODY, HIVE, Lease, Mailbox, Message, Reader, boot_clock, boot_id
from broker.wire import Refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def mailboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_quiet", {})
    Mailbox.objects.create(name=HIVE, role="hive", open=False)
    for name in ("operator", "hm1nd", "scout"):
        Mailbox.objects.create(name=name, role={"operator": "operator", "hm1nd": "manager"}.get(name, "agent"))


def claim(turn: str = "turn-one", key: str | None = None) -> list[Message]:
    return Message.claim("scout", turn, key or turn, lease=60)


def state(message: Message) -> str:
    message.refresh_from_db()
    return message.state


def test_messages_are_claimed_in_the_order_they_were_sent() -> None:
    sent = [Message.send("hm1nd", "scout", f"{number}") for number in range(3)]
    got = []
    for number in range(3):
        [message] = claim(f"turn-{number}")
        got.append(message.pk)
        Message.ack("scout", f"turn-{number}")
    assert got == [message.pk for message in sent]


def test_the_same_cid_twice_is_one_message() -> None:
    first, again = (Message.send("hm1nd", "scout", "hello", cid="abc") for _ in range(2))
    assert first.pk == again.pk
    assert Message.objects.count() == 1


def test_another_sender_may_use_the_same_cid() -> None:
    assert Message.send("hm1nd", "scout", "a", cid="abc").pk != Message.send("operator", "scout", "b", cid="abc").pk


@pytest.mark.parametrize(
    ("to", "body", "kind", "word"),
    [
        ("scuot", "hi", "not_found", "unknown_recipient"),
        ("hive", "hi", "refused", "recipient_gone"),
        ("scout", "  ", "bad_params", "empty_body"),
        ("scout", "é" * (BODY // 2 + 1), "bad_params", "body_too_long"),
    ],
)
def test_what_nobody_would_read_is_refused(to: str, body: str, kind: str, word: str) -> None:
    with pytest.raises(Refused) as refused:
        Message.send("hm1nd", to, body)
    assert (refused.value.kind, refused.value.word) == (kind, word)
    assert not Message.objects.exists()


def test_an_unknown_recipient_is_told_the_nearest_name() -> None:
    with pytest.raises(Refused, match="Did you mean 'scout'"):
        Message.send("hm1nd", "scuot", "hi")


def test_a_full_mailbox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.models.FULL", 2)
    for _ in range(2):
        Message.send("hm1nd", "scout", "hi")
    with pytest.raises(Refused, match="waiting"):
        Message.send("hm1nd", "scout", "one more")


def test_one_turn_at_a_time() -> None:
    for _ in range(2):
        Message.send("hm1nd", "scout", "hi")
    assert len(claim("turn-one")) == 1
    assert claim("turn-two") == []
    assert len(claim("turn-one", key="its recv tool")) == 1


def test_a_repeated_claim_gets_what_the_lost_reply_held() -> None:
    Message.send("hm1nd", "scout", "hi")
    Message.send("hm1nd", "scout", "there")
    assert [message.pk for message in claim()] == [message.pk for message in claim()]
    assert Message.objects.filter(state="claimed").count() == 1


def test_ack_delivers_what_the_turn_claimed_and_nothing_else() -> None:
    first, second = Message.send("hm1nd", "scout", "a"), Message.send("hm1nd", "scout", "b")
    claim()
    assert Message.ack("scout", "turn-one") == 1
    assert (state(first), state(second)) == ("delivered", "queued")
    assert not Lease.objects.exists()


def test_nobody_acks_for_another() -> None:
    message = Message.send("hm1nd", "scout", "a")
    claim()
    assert Message.ack("hm1nd", "turn-one") == 0
    assert state(message) == "claimed"


def test_a_released_message_comes_again_with_the_next_attempt() -> None:
    message = Message.send("hm1nd", "scout", "a")
    claim()
    assert Message.release("scout", "turn-one", "killed") == 1
    [again] = claim("turn-two")
    assert (again.pk, again.attempt, again.reason) == (message.pk, 2, "killed")


def test_a_held_message_does_not_count_the_attempt() -> None:
    Message.send("hm1nd", "scout", "a")
    claim()
    Message.hold("scout", "turn-one", "not logged in")
    [again] = claim("turn-two")
    assert again.attempt == 1


def test_after_its_last_attempt_a_message_is_dead_and_its_sender_told() -> None:
    message = Message.send("hm1nd", "scout", "a")
    for number in range(ATTEMPTS):
        assert claim(f"turn-{number}")
        Message.release("scout", f"turn-{number}", "crashed")
    assert state(message) == "dead"
    told = Message.objects.get(recipient="hm1nd")
    assert told.sender == HIVE
    assert f"#{message.pk} to scout was not delivered after 5 attempts: crashed" in told.body


def test_a_dead_message_can_be_requeued_once() -> None:
    message = Message.send("hm1nd", "scout", "a")
    claim()
    Message.dead_letter("scout", "turn-one", "past its deadline")
    message.refresh_from_db()
    message.requeue()
    assert claim("turn-two")[0].attempt == 1
    with pytest.raises(Refused, match="is not dead"):
        message.requeue()


def test_a_lease_that_ran_out_gives_its_messages_back() -> None:
    message = Message.send("hm1nd", "scout", "a")
    claim()
    assert Lease.expire() == 0
    Lease.objects.update(until=boot_clock() - 1)
    assert Lease.expire() == 1
    assert state(message) == "queued"
    with pytest.raises(Refused, match="run out"):
        Lease.renew("turn-one", "scout", 60)


def test_a_reboot_ends_every_lease() -> None:
    Message.send("hm1nd", "scout", "a")
    claim()
    Lease.objects.update(boot="another boot", until=boot_clock() + 1e6)
    assert Lease.expire() == 1


def test_a_turn_passes_its_chain_on_one_hop_further() -> None:
    root = Message.send("operator", "scout", "find out")
    claim()
    answer = Message.send("scout", "hm1nd", "found", turn="turn-one")
    assert (answer.chain, answer.hop) == (root.chain, 1)
    assert (root.chain, root.hop) == (root.cid, 0)


def test_the_vacuum_takes_only_what_was_delivered_long_ago() -> None:
    Age.objects.create(pk=1, seconds=31 * DAY, wall=0, boot="", ran=0)
    old = timezone.now() - timedelta(days=31)
    for name in ("delivered", "queued", "claimed", "dead"):
        Message.objects.create(
            cid=name, sender="hm1nd", recipient="scout", body="x", state=name, created_at=old,
            delivered_at=old if name == "delivered" else None,
        )  # fmt: skip
    Message.objects.create(
        cid="young", sender="hm1nd", recipient="scout", body="x", state="delivered", delivered_at=timezone.now(),
        aged=2 * DAY,
    )  # fmt: skip
    assert Message.vacuum(500) == 1
    assert set(Message.objects.values_list("cid", flat=True)) == {"queued", "claimed", "dead", "young"}


def plan(sql: str, **params: str) -> str:
    return " ".join(str(row[-1]) for row in hot.rows("EXPLAIN QUERY PLAN " + sql, **params))


STATEMENTS = {
    name: hot.with_columns(getattr(hot, name))
    for name in (
        "QUEUE",
        "HAND",
        "CLAIM",
        "CLAIMED",
        "ACK",
        "ANY",
        "HOLD",
        "DROP",
        "SENT",
        "OPEN",
        "ROLE",
        "KNOWN",
        "VACUUM",
    )
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_hot_statement_reads_indexes_and_never_a_table(name: str) -> None:
    given = dict.fromkeys(re.findall(r":([a-z_]+)", STATEMENTS[name]), "x")
    steps = plan(STATEMENTS[name], **given)
    assert "SCAN broker_" not in steps
    if name in ("QUEUE", "HAND", "CLAIM", "ANY"):
        assert "message_queued" in steps
    if name in ("QUEUE", "HAND", "CLAIM", "CLAIMED", "ACK", "ANY"):
        assert "message_claimed" in steps
    if name == "VACUUM":
        assert "message_aged" in steps


def test_what_a_turn_holds_is_found_by_a_partial_index() -> None:
    assert "message_claimed" in Message._held("scout", "turn-one").explain()


def test_the_raw_statements_say_what_the_orm_says() -> None:
    Age.objects.create(pk=1, seconds=7.5, wall=0, boot="", ran=0)
    cause = Message.send("operator", "hm1nd", "why not", cid="cause-0001")
    Message.take("hm1nd", "turn-zero", "turn-zero", 60)
    queued = Message.post("hm1nd", "scout", "hällo", reply_to=cause.pk, turn="turn-zero")
    row = Message.objects.get(pk=queued["id"])
    assert row.as_json() == queued
    assert (row.chain, row.hop, row.turn, row.key, row.claimed_at) == ("cause-0001", 1, None, None, None)
    [taken] = Message.take("scout", "turn-one", "key-one", 60)
    row.refresh_from_db()
    assert row.as_json() | {"sender_role": "manager"} == taken
    assert (row.key, row.attempt) == ("key-one", 1)
    assert Message.take("scout", "turn-one", "key-one", 60) == [taken], "a repeat gets the very same"
    lease = Lease.objects.get(turn="turn-one")
    assert (lease.recipient, lease.boot) == ("scout", boot_id())
    assert 0 < lease.until - boot_clock() <= 60
    assert Message.ack("scout", "turn-one") == 1
    row.refresh_from_db()
    assert (row.state, row.aged) == (Message.State.DELIVERED, 7.5)
    assert timezone.now() - timedelta(seconds=60) < row.delivered_at <= timezone.now()
    assert not Lease.objects.filter(turn="turn-one").exists()


# ---- a reader that waits


def given(to: str = "scout", turn: str = "turn-one", may: bool = True, **how: Any) -> tuple[dict, Any]:
    """What the sender is answered, and what the waiting reader of that turn was handed in the same transaction."""

    own = connection.connection

    async def send() -> tuple[dict, Any]:
        reader = Reader(turn, turn, 60, lambda _: may)
        waiting = Taker(f"inbox:{to}", lambda: None, None, lambda *_, **__: asyncio.Future(), 10, reader, turn)
        with events.gathered(handed := []), hot.on(own):
            posted = Message.post("hm1nd", to, "hi", **how)
        waiting.cancel()
        return posted, next((found for future, found in handed if future is waiting), None)

    return asyncio.run(send())


def test_a_reader_that_waits_is_handed_the_message_as_a_claim_would_tell_it() -> None:
    posted, handed = given()
    row = Message.objects.get()
    assert posted["state"] == "queued"
    assert handed == {"messages": [row.as_json() | {"sender_role": "manager"}]}
    assert (row.state, row.turn, row.key, row.attempt) == ("claimed", "turn-one", "turn-one", 1)
    assert handed["messages"] == Message.take("scout", "turn-one", "turn-one", 60), "a repeat gets the very same"
    assert Lease.known("turn-one")
    assert Message.ack("scout", "turn-one") == 1


@pytest.mark.parametrize(
    "hindered", ["an older one waits", "another turn works", "it had one", "it is paused", "known"]
)
def test_a_reader_is_handed_nothing_that_it_could_not_claim(hindered: str) -> None:
    how = {}
    if hindered == "an older one waits":
        Message.send("hm1nd", "scout", "older")
    elif hindered == "another turn works":
        Lease.hold("turn-two", "scout", 60)
    elif hindered == "it had one":
        Message.send("hm1nd", "scout", "before")
        Message.take("scout", "turn-one", "turn-one", 60)
    elif hindered == "known":
        Message.send("hm1nd", "scout", "hi", cid="known-0001")
        Message.take("scout", "turn-one", "key-two", 60)
        how["cid"] = "known-0001"
    before = Message.objects.filter(state="claimed").count()
    posted, handed = given(may=hindered != "it is paused", **how)
    assert handed is None
    assert posted["state"] == ("claimed" if hindered == "known" else "queued")
    assert Message.objects.filter(state="claimed").count() == before


def test_where_nothing_waits_an_ack_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def published() -> set[str]:
        Lease.hold("turn-one", "scout", 60)
        with events.gathered() as topics:
            Message.ack("scout", "turn-one")
        return topics

    assert published() == {"inbox:scout", "messages"}
    monkeypatch.setitem(events._quiet, "inbox:scout", None)
    assert published() == {"messages"}
    Lease.hold("turn-one", "scout", 60)
    with events.gathered() as topics:
        Message.release("scout", "turn-one", "it failed")
    assert topics == {"inbox:scout", "messages"}, "what was given back waits"
