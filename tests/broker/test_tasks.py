"""The vacuum as the daemon runs it: all of it, in batches, and said when there was something."""

from datetime import timedelta

import pytest
from django.utils import timezone

from broker import tasks
from broker.age import DAY, Age
from broker.models import Message

pytestmark = pytest.mark.django_db


def old_messages(count: int) -> None:
    Age.objects.create(pk=1, seconds=31 * DAY, wall=0, boot="", ran=0)
    old = timezone.now() - timedelta(days=31)
    Message.objects.bulk_create(
        Message(cid=f"{n}", sender="a", recipient="b", body="x", state="delivered", delivered_at=old)
        for n in range(count)
    )


def test_a_batch_ends_when_its_time_is_over_and_the_next_goes_on(monkeypatch) -> None:
    old_messages(5 * tasks.STEP)
    monkeypatch.setattr(tasks, "LIMIT", 0)
    assert [tasks._batch() for _ in range(6)] == [(tasks.STEP, True)] * 5 + [(0, False)]


def test_more_than_one_batch_goes_in_one_vacuum_and_the_count_is_logged(monkeypatch) -> None:
    said = []
    monkeypatch.setattr(tasks.log, "info", lambda words, *args: said.append(words % args))
    old_messages(1200)
    assert tasks.vacuum_now() == 1200
    assert tasks.vacuum_now() == 0
    assert said == ["vacuum: 1200 delivered messages past their retention removed"]
