"""Copies of the database: whole or not there, and the right ones kept."""

import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings

from broker import backups, tasks
from broker.jobs import Job
from broker.models import Mailbox, Message
from broker.wire import Refused

# VACUUM INTO cannot be said within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def state(settings: LazySettings, tmp_path: Path) -> Path:
    settings.HIVE_STATE_DIR = tmp_path
    Mailbox.objects.create(name="scout")
    Message.post("hm1nd", "scout", "keep me")
    return tmp_path


def bodies(database: Path) -> list[str]:
    plain = sqlite3.connect(database)
    found = [row[0] for row in plain.execute("SELECT body FROM broker_message ORDER BY id")]
    plain.close()
    return found


def test_a_backup_is_whole_for_its_owner_only_and_nothing_else_is_left() -> None:
    copy = backups.make("hive")
    assert bodies(copy) == ["keep me"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not backups.damage(copy)
    assert os.listdir(copy.parent) == [copy.name]


def test_the_hourly_job_makes_one_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(tasks.log, "info", lambda words, *args: said.append(words % args))
    tasks.backup.call_local()
    [copy] = backups.newest_first()
    job = Job.objects.get(name="backup")
    assert (job.ok, job.result) == (True, f"{copy.name}, {copy.stat().st_size} bytes")
    assert said == [f"backup: {copy}; 0 older ones removed"]


def test_half_a_copy_of_who_was_killed_is_removed_by_the_next() -> None:
    backups.directory().mkdir()
    half = backups.directory() / "hourly-000001-20260101-000000.sqlite3.part"
    half.write_bytes(b"half")
    backups.make("hourly")
    assert not half.exists()


def test_a_copy_that_cannot_be_written_is_a_sentence_and_leaves_nothing(state: Path) -> None:
    with pytest.raises(Refused, match="cannot be written: unable to open database"):
        backups.copy(state / "none" / "copy.sqlite3")


def test_a_copy_that_would_fill_the_disk_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.disk._free", lambda place: 32 * 1024 * 1024)
    with pytest.raises(Refused, match="no room for a copy"):
        backups.make("hourly")
    assert not os.listdir(backups.directory())


def test_twenty_four_hours_and_seven_days_are_kept_and_whatever_was_asked_for(state: Path) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    (state / "backups").mkdir()
    for hour in range(24 * 10):
        name = f"hourly-{hour + 1:06}-{begun + timedelta(hours=hour):%Y%m%d-%H%M%S}.sqlite3"
        (state / "backups" / name).write_bytes(b"")
    for name in ("hive-000050-20260101-000000.sqlite3", "before-migration-000001-20260101-000000.sqlite3"):
        (state / "backups" / name).write_bytes(b"")
    backups.prune()
    hourly = [path.name.split("-")[2:4] for path in backups.newest_first() if path.name.startswith("hourly")]
    assert [day for day, _ in hourly[:24]] == ["20260110"] * 24
    assert hourly[24:] == [[f"202601{day:02}", "230000.sqlite3"] for day in range(9, 2, -1)]
    assert len(backups.newest_first()) == 24 + 7 + 2
    assert backups.prune() == []


def test_a_clock_that_was_set_back_does_not_make_the_newest_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    real = datetime.now(UTC)
    for days in (400, 0, -3650):
        monkeypatch.setattr("django.utils.timezone.now", lambda days=days: real + timedelta(days=days))
        Message.post("hm1nd", "scout", f"{days}")
        backups.make("hourly")
    assert bodies(backups.newest_first()[0]) == ["keep me", "400", "0", "-3650"]


def zeros(copy: Path) -> None:
    with open(copy, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\0" * 4096 * 4)


def cut(copy: Path) -> None:
    os.truncate(copy, 4096 * 2)


def empty(copy: Path) -> None:
    copy.write_bytes(b"")


def other(copy: Path) -> None:
    copy.unlink()
    plain = sqlite3.connect(copy)
    plain.execute("CREATE TABLE somebody (elses)")
    plain.close()


@pytest.mark.parametrize("harm", [zeros, cut, empty, other])
def test_only_a_whole_one_is_called_good(harm) -> None:
    good, bad = backups.make("hourly"), backups.make("hourly")
    harm(bad)
    assert list(backups.good()) == [good]
