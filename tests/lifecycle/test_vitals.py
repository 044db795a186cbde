"""What agents use: of real processes, of a control group as the kernel shows it, and what is kept of it."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from lifecycle import vitals
from lifecycle.vitals import Sample

from ..hives import until


@pytest.fixture(autouse=True)
def no_samples(settings, tmp_path):
    settings.HIVE_STATE_DIR = tmp_path
    vitals.RINGS.clear()
    yield
    vitals.RINGS.clear()


@pytest.fixture
def busy():
    """A shell whose child turns in circles."""
    code = "while True: pass"
    command = ["/bin/sh", "-c", f"{sys.executable} -c '{code}' & wait"]
    process = subprocess.Popen(command, start_new_session=True)
    yield process.pid
    os.killpg(process.pid, 9)
    process.wait()


def test_what_processes_spend_is_added_up_from_the_first_down(busy, monkeypatch):
    monkeypatch.setattr(vitals, "group", lambda pid: "")
    until(lambda: len(vitals.processes().get(busy, ())) == 1, "the child has started", 20)
    vitals.add("scout", busy, vitals.processes())
    time.sleep(1)
    vitals.add("scout", busy, vitals.processes())
    first, second = vitals.RINGS["scout"]
    assert second.cpu > first.cpu
    assert second.memory > 1_000_000
    assert second.processes == 2
    assert vitals.cpu("scout").now > 1


def test_a_control_group_is_read_where_there_is_one(tmp_path, monkeypatch):
    place = tmp_path / "hive/scout"
    place.mkdir(parents=True)
    (place / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (place / "memory.current").write_text("4096\n")
    (place / "pids.current").write_text("3\n")
    monkeypatch.setattr(vitals, "CGROUPS", tmp_path)
    monkeypatch.setattr(vitals, "group", lambda pid: "/hive" if pid == "self" else "/hive/scout")
    assert vitals.by_cgroup(1) == (2.5, 4096, 3)
    monkeypatch.setattr(vitals, "group", lambda pid: "/hive/scout")
    assert vitals.by_cgroup(1) is None, "our own group tells nothing of one agent"
    monkeypatch.setattr(vitals, "group", lambda pid: "/hive/daemon" if pid == "self" else "/hive")
    assert vitals.by_cgroup(1) is None, "nor does one that we are in"


def test_no_more_is_kept_than_half_an_hour_and_nothing_of_who_is_gone(db):
    for n in range(500):
        vitals.RINGS["gone"].append(Sample(n, n, n, n, 1))
    assert len(vitals.RINGS["gone"]) == vitals.KEPT
    vitals.look()
    assert "gone" not in vitals.RINGS


def test_a_counter_that_began_anew_is_no_negative_load():
    vitals.RINGS["scout"].extend([Sample(0, 50, 1, 1, 1), Sample(10, 2, 1, 1, 1)])
    assert vitals.cpu("scout").values == [0.0]


def test_what_takes_long_is_looked_at_more_seldom(db, monkeypatch):
    assert vitals.look() == vitals.EVERY
    clock = SimpleNamespace(monotonic=iter((0.0, 0.2)).__next__, time=time.time)
    monkeypatch.setattr(vitals, "time", clock)
    assert vitals.look() == pytest.approx(40.0)
