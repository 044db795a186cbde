"""A periodic job leaves a row that says when it ran and what came of it."""

from datetime import UTC, datetime, timedelta

import pytest

from broker import tasks
from broker.jobs import Job, recorded

pytestmark = pytest.mark.django_db


def test_a_job_is_recorded_with_what_came_of_it() -> None:
    tasks.vacuum.call_local()
    job = Job.objects.get(name="vacuum")
    assert (job.ok, job.result, job.period) == (True, "0 delivered messages removed", 3600)
    assert job.started_at <= job.ended_at
    assert timedelta() < job.next_at - datetime.now(UTC) <= timedelta(hours=1)
    assert (job.next_at.minute, job.next_at.second) == (0, 0), "as crontab counts"


def test_one_that_breaks_says_so_and_breaks_on() -> None:
    @recorded("mend", 600)
    def mend() -> str:
        raise OSError("no such tool")

    with pytest.raises(OSError, match="no such tool"):
        mend()
    job = Job.objects.get(name="mend")
    assert (job.ok, job.result) == (False, "no such tool")


def test_one_that_is_under_way_began_later_than_it_ended() -> None:
    @recorded("look", 600)
    def look() -> None:
        job = Job.objects.get(name="look")
        assert job.ended_at is None or job.started_at > job.ended_at

    look()
    look()


def test_a_job_that_has_not_run_yet_is_listed_and_one_that_has_is_left_alone() -> None:
    tasks.vacuum.call_local()
    Job.list_all()
    Job.list_all()
    backup, vacuum = Job.objects.get(name="backup"), Job.objects.get(name="vacuum")
    assert (backup.started_at, backup.ended_at, backup.period) == (None, None, 3600)
    assert vacuum.ok
