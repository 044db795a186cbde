"""kill -9 at every named step of send, claim, ack, expire, vacuum, backup, migrate and restore: done once, or not yet."""

import shutil
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from .mailboxes import BATCH, OLD
from .mortals import Mortals

TIMES = 10
# Story -> its points, in the order in which they are reached.
POINTS = {
    "send": ("send.within", "commit.done"),
    "claim": ("claim.within", "claim.leased", "commit.done"),
    "ack": ("ack.within", "ack.dropped", "commit.done"),
    "expire": ("expire.within", "commit.done"),
    "vacuum": ("vacuum.within", "vacuum.batch"),
    "backup": ("backup.written", "backup.checked", "backup.done", "backup.prune"),
    "migrate": (
        "backup.written",
        "backup.done",
        "migrate.copied",
        "migrate.after.1",
        "migrate.after.2",
        "migrate.done",
    ),
    "restore": ("restore.aside", "restore.removed", "restore.removed-wal", "restore.removed-shm", "restore.done"),
}
# Points at which another process has to find what was written, though nobody was told; before the others it finds nothing.
WRITTEN = {"commit.done", "vacuum.batch"}
RANK = {"queued": 0, "claimed": 1, "delivered": 2}


@pytest.fixture
def model(mortals: Mortals, tmp_path: Path, story: str) -> Path:
    model = mortals.place / f"mailboxes-{story}"
    if not model.exists():
        model.mkdir()
        mortals.does(model, "make_mailboxes", story=story)
    return model


def fresh(model: Path, tmp_path: Path) -> Path:
    shutil.rmtree(tmp_path / "s", ignore_errors=True)
    return shutil.copytree(model, tmp_path / "s")


@pytest.mark.parametrize(("story", "point"), [(story, point) for story, some in POINTS.items() for point in some])
def test_killed_there_ten_times_it_is_done_once(
    mortals: Mortals, model: Path, tmp_path: Path, story: str, point: str
) -> None:
    before = mortals.does(fresh(model, tmp_path), "do", story=story)
    for time in range(TIMES):
        hive = fresh(model, tmp_path)
        killed(mortals, hive, story, point)
        # The last is killed again and again while it recovers, as far as it comes there once more.
        for _ in range(TIMES - 1 if time == TIMES - 1 else 0):
            ended, _ = mortals.run(hive, "do", story=story, crash_at=point)
            assert ended in (0, -SIGKILL)
        told = (hive / "told").read_text().splitlines() if (hive / "told").exists() else []
        if story == "restore":
            nothing_is_lost(mortals, hive, point)
        seen = mortals.does(hive, "do", story=story)
        assert seen["left"] | {"copies": 0} == before["left"] | {"copies": 0}
        if story == "backup":
            assert seen["left"]["copies"] in (24 + 1, 24 + 2), "24 hours and one day, or two when midnight passed"
        if seen["found"]:
            as_told(seen["found"], told)
            if time < TIMES - 1:
                all_or_nothing(story, point, before["found"], seen["found"])


def killed(mortals: Mortals, hive: Path, story: str, point: str) -> None:
    ended, _ = mortals.run(hive, "do", story=story, crash_at=point)
    assert ended == -SIGKILL, "the point was reached"


def as_told(found: dict[str, Any], told: list[str]) -> None:
    """What was answered is there."""
    states = {cid: state for cid, state, *_ in found["messages"]}
    for state, cid in (line.split() for line in told):
        if state in RANK:
            assert RANK[states[cid]] >= RANK[state]


def all_or_nothing(story: str, point: str, before: dict[str, Any], found: dict[str, Any]) -> None:
    """A transaction that was not committed left nothing, one that was is there whole."""
    assert found["integrity"] == "ok"
    if story in ("send", "claim", "ack", "expire") and point not in WRITTEN:
        assert found["messages"] == before["messages"]
        assert found["leases"] == before["leases"]
    if story in ("send", "claim", "ack", "expire") and point in WRITTEN:
        assert (found["messages"], found["leases"]) != (before["messages"], before["leases"])
    if story == "vacuum":
        gone = len(before["messages"]) - len(found["messages"])
        assert gone == (BATCH if point in WRITTEN else 0)
        assert OLD % BATCH == 0


def nothing_is_lost(mortals: Mortals, hive: Path, point: str) -> None:
    """What was there before is whole somewhere; where no database is, the start says how to get one."""
    assert mortals.does(hive, "kept")[0] == ["first-0000", "second-0000"]
    refusal = mortals.does(hive, "refused")
    if refusal:
        assert "is damaged (it is missing or empty)" in refusal
        assert f"hive restore {hive}/backups/hive-000001-" in refusal
    assert bool(refusal) == (point not in ("restore.aside", "restore.done"))


@pytest.mark.parametrize("story", ["send"])
def test_two_at_once_are_one_ten_times(mortals: Mortals, model: Path, tmp_path: Path) -> None:
    hive = fresh(model, tmp_path)
    for _ in range(10):
        pids = [mortals.begin(hive, "host", names=["scout"]) for _ in range(4)]
        ends = []
        while len(pids) > 1:
            for pid in [pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"]:
                pids.remove(pid)
                ends.append(mortals.ended(pid))
        assert ends == [75, 75, 75]
        mortals.kill(pids[0])


@pytest.mark.parametrize("story", ["restore"])
def test_the_newest_good_backup_is_named(mortals: Mortals, model: Path, tmp_path: Path) -> None:
    hive = fresh(model, tmp_path)
    [good] = (hive / "backups").iterdir()
    bad = good.with_name("hourly-000002-20300101-000000.sqlite3")
    bad.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (hive / "hive.sqlite3").write_bytes(b"")
    refusal = mortals.does(hive, "refused")
    assert f"`hive restore {good}`" in refusal
    good.write_bytes(b"")
    assert "There is no good backup of it." in mortals.does(hive, "refused")


@pytest.mark.parametrize("story", ["migrate"])
def test_without_room_for_a_copy_nothing_is_migrated(mortals: Mortals, model: Path, tmp_path: Path) -> None:
    hive = fresh(model, tmp_path)
    refusal = mortals.does(hive, "refused", reserve=2**50)
    assert refusal.startswith(
        "The database is of an older hyperhive and is copied before it is changed. There is no room"
    )
    assert mortals.does(hive, "refused") == ""
