"""Wishes and truth kept in step: crashes in the middle, deaths, restarts ever later, threads that do one thing per agent."""

import os
import signal
import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from broker.models import Lease, Mailbox, Message
from lifecycle import pool, steps, update, work
from lifecycle.drivers import DRIVERS, DriverError
from lifecycle.models import Container
from tests.lifecycle.conftest import DEAF, logged, until

pytestmark = [pytest.mark.django_db, pytest.mark.bwrap]


def spawned(name: str = "scout") -> Container:
    Container.spawn(name)
    Container.carry_out(name)
    return Container.named(name)


def ended(row: Container) -> None:
    os.kill(row.as_json()["pid"], signal.SIGKILL)
    DRIVERS[row.driver].wait(row.name, 10)


def due(row: Container) -> None:
    Container.objects.filter(pk=row.pk).update(retry_at=timezone.now())


class Crash(BaseException):
    """The daemon was killed here."""


OPS = {
    "start": ("stop", ["prepare", "start"]),
    "stop": (None, ["stop"]),
    "restart": (None, ["stop", "prepare", "start"]),
    "rebuild": (None, ["prepare", "stop", "start"]),
    "kill": (None, ["kill"]),
    "destroy": (None, ["stop", "destroy"]),
    "purge": (None, ["stop", "destroy"]),
}
POINTS = [(op, verb, when) for op, (_, verbs) in OPS.items() for verb in verbs for when in ("before", "after")]


@pytest.mark.parametrize(("op", "verb", "when"), POINTS)
def test_a_crash_in_the_middle_is_taken_up_where_the_table_says(payload, monkeypatch, op, verb, when):
    row = spawned()
    if before := OPS[op][0]:
        getattr(row, before)()
        Container.carry_out(row.name)
    row = Container.named("scout")
    row.destroy(purge=True) if op == "purge" else getattr(row, op)()
    with monkeypatch.context() as patched:
        crash_at(patched, DRIVERS[row.driver], verb, when)
        with pytest.raises(Crash):
            Container.carry_out("scout")
    assert Container.named("scout").op == op
    assert work.reconcile(Container.named("scout")) == "resumed"
    Container.carry_out("scout")
    after = Container.named("scout")
    wanted = {"stop": "stopped", "kill": "stopped", "destroy": "destroyed", "purge": "destroyed"}.get(op, "running")
    assert (after.op, after.status, after.error) == ("", wanted, "")
    assert after.now().running == (wanted == "running")


def crash_at(patched, driver, verb: str, when: str) -> None:
    real = getattr(type(driver), verb)

    def crashing(self, *args, **kwargs):
        if when == "after":
            real(self, *args, **kwargs)
        raise Crash

    patched.setattr(type(driver), verb, crashing)


def test_a_purge_cut_off_between_two_trees_lists_them_all(payload, monkeypatch):
    row = spawned()
    row.destroy(purge=True)
    real, seen = steps.safe_fs.purge, []

    def third_time(place):
        seen.append(place)
        if len(seen) == 3:
            raise Crash
        return real(place)

    monkeypatch.setattr(steps.safe_fs, "purge", third_time)
    with pytest.raises(Crash):
        Container.carry_out("scout")
    Container.carry_out("scout")
    assert len(Container.named("scout").purged) == 6


def test_at_the_daemons_start_what_runs_is_taken_up_and_not_started_anew(payload):
    row = spawned()
    pid = row.as_json()["pid"]
    assert work.reconcile_all() == {"resumed": [], "reattached": ["scout"], "started": [], "stopped": [], "unknown": []}
    work.tick()
    after = Container.named("scout")
    assert (after.op, after.as_json()["pid"], after.intent) == ("", pid, row.intent)


def test_at_the_daemons_start_what_is_dead_is_started(payload):
    row = spawned()
    ended(row)
    assert work.reconcile_all()["started"] == ["scout"]
    Container.carry_out("scout")
    assert Container.named("scout").now().running


def test_at_the_daemons_start_what_should_not_run_is_stopped(payload):
    row = spawned()
    Container.objects.filter(pk="scout").update(desired="stopped", status="stopped")
    assert work.reconcile_all()["stopped"] == ["scout"]
    Container.carry_out("scout")
    assert not row.now().running


def test_a_container_that_nobody_knows_is_told_of_and_left_alone(payload, agent):
    driver = DRIVERS["process"]
    driver.prepare(agent(name="stranger"))
    driver.start(agent(name="stranger"))
    assert work.reconcile_all()["unknown"] == ["stranger"]
    assert driver.status("stranger").running


def test_a_death_frees_its_messages_and_it_is_started_again(payload):
    Mailbox.objects.create(name="operator")
    row = spawned()
    logged(DRIVERS[row.driver], "scout", "ready")
    work.tick()
    Message.send("operator", "scout", "work")
    Message.claim("scout", "turn", "turn", 600)
    ended(row)
    work.tick()
    after = Container.named("scout")
    assert (after.status, after.op, after.error) == ("stopped", "", "It ended killed by signal 9.")
    assert after.state()[0] == "failing"
    assert Message.objects.get(recipient="scout").state == "queued"
    work.tick()
    assert Container.named("scout").op == ""  # not yet
    due(after)
    work.tick()
    assert Container.named("scout").op == "start"
    Container.carry_out("scout")
    again = Container.named("scout")
    assert (again.status, again.restarts, again.error) == ("running", 1, "")
    assert Message.claim("scout", "next", "next", 600)[0].attempt == 2


def test_each_death_is_followed_by_a_longer_pause_until_a_human_has_to_look(payload):
    spawned()
    pauses = []
    for _ in range(4):
        ended(Container.named("scout"))
        work.tick()
        row = Container.named("scout")
        pauses.append(round((row.retry_at - timezone.now()).total_seconds()))
        due(row)
        work.tick()
        Container.carry_out("scout")
    assert pauses == [1, 2, 4, 8]
    ended(Container.named("scout"))
    work.tick()
    row = Container.named("scout")
    assert (row.status, row.retry_at) == ("failing", None)
    assert "It ended 5 times within 10 minutes, the last time killed by signal 9." in row.error
    work.tick()
    assert Container.named("scout").op == ""
    row.start()
    Container.carry_out("scout")
    assert (Container.named("scout").status, Container.named("scout").deaths) == ("running", [])


def test_deaths_far_apart_are_paused_for_at_most_five_minutes(payload):
    row = spawned()
    long_ago = [timezone.now().timestamp() - 3600] * 9
    Container.objects.filter(pk="scout").update(deaths=long_ago)
    ended(row)
    work.tick()
    pause = Container.named("scout").retry_at - timezone.now()
    assert timedelta(seconds=295) < pause <= timedelta(seconds=300)


def test_a_late_hello_ends_a_failure(payload, monkeypatch):
    spawned()
    Container.objects.filter(pk="scout").update(status="failing", error="Its harness has not said hello within 30 s.")
    work.tick()
    assert (Container.named("scout").status, Container.named("scout").error) == ("running", "")


def test_a_purged_row_is_read_for_a_moment_and_then_gone(payload):
    row = spawned()
    row.destroy(purge=True)
    Container.carry_out("scout")
    work.tick()
    assert len(Container.named("scout").purged) == 6
    Container.objects.filter(pk="scout").update(status_since=timezone.now() - timedelta(seconds=work.EPITAPH + 1))
    work.tick()
    assert not Container.objects.filter(pk="scout").exists()


def test_a_bug_leaves_a_row_that_says_so(payload, monkeypatch):
    Container.spawn("scout")
    monkeypatch.setattr(steps, "let_go", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Container.carry_out("scout")
    assert Container.named("scout").status == "failing"
    assert Container.named("scout").op == ""


def test_all_agents_can_be_taken_along_and_come_back_with_the_next_daemon(transactional_db, payload):
    payload["now"] = DEAF
    for name in ("one", "two"):
        logged(DRIVERS[spawned(name).driver], name, "ready")
    work.stop_agents(grace=0.2)
    assert not any(row.now().running for row in Container.objects.all())
    assert sorted(work.reconcile_all()["started"]) == ["one", "two"]


# ---- threads


def test_the_daemon_carries_out_what_is_wanted_in_threads(transactional_db, payload):
    work.start()
    for name in ("one", "two", "three"):
        Container.spawn(name)
    until(lambda: Container.objects.filter(status="running", op="").count() == 3)
    Container.named("one").destroy(purge=True)
    Container.named("two").stop()
    until(lambda: Container.objects.filter(op="").count() == 3)
    states = dict(Container.objects.values_list("name", "status"))
    assert states == {"one": "destroyed", "two": "stopped", "three": "running"}
    until(lambda: not pool._busy)


def test_one_agent_is_worked_on_by_one_thread_and_a_nudge_meanwhile_is_not_lost(transactional_db):
    inside, most, done, gate = [], [], [], threading.Event()

    def job(name):
        inside.append(name)
        most.append(len(inside))
        gate.wait(5)
        inside.remove(name)
        done.append(name)

    pool.start(job)
    for _ in range(5):
        pool.nudge("scout")
    gate.set()
    until(lambda: not pool.busy("scout"))
    pool.stop()
    assert (max(most), done) == (1, ["scout", "scout"])


def test_nudges_in_a_command_do_nothing():
    pool.stop()
    pool.nudge("scout")
    assert not pool.busy("scout")


def test_a_stopping_daemon_leaves_what_is_under_way_in_the_table(transactional_db, payload, monkeypatch):
    monkeypatch.setattr(steps, "said_hello", lambda name, status: False)
    work.start()
    Container.spawn("scout")
    until(lambda: Container.named("scout").step.startswith("waiting"))
    work.stop()
    assert not pool.busy("scout")
    row = Container.named("scout")
    assert (row.op, row.status) == ("start", "creating")
    pid = row.as_json()["pid"]
    monkeypatch.setattr(steps, "said_hello", lambda name, status: True)
    work.start()
    until(lambda: Container.named("scout").op == "")
    assert Container.named("scout").as_json()["pid"] == pid


def test_a_container_that_does_not_end_is_told_of(payload, monkeypatch):
    row = spawned()

    def immortal(name, *_):
        raise DriverError("Process 1 of scout does not end, not even killed.")

    row.stop()
    with monkeypatch.context() as patched:
        patched.setattr(DRIVERS[row.driver], "stop", immortal)
        Container.carry_out("scout")
    assert Container.named("scout").state()[::2] == ("failing", "Process 1 of scout does not end, not even killed.")


# ---- what is stale


def test_what_is_due_is_rebuilt_once_it_runs_no_turn(transactional_db, payload):
    Container.spawn("scout")
    Container.carry_out("scout")
    pid = Container.named("scout").as_json()["pid"]
    Container.objects.filter(pk="scout").update(config={"model": "opus"})
    Lease.hold("turn-1", "scout", 60)
    assert update.auto() == ["scout"]
    work.tick()
    assert (Container.named("scout").due, Container.named("scout").as_json()["pid"]) == (True, pid)
    Lease.drop("scout", "turn-1")
    work.tick()
    assert (Container.named("scout").op, Container.named("scout").due) == ("rebuild", False)
    Container.carry_out("scout")
    assert Container.named("scout").as_json()["pid"] not in (None, pid)
    assert update.auto() == []


def test_a_fingerprint_that_failed_is_not_tried_again_by_itself(transactional_db, payload):
    Container.spawn("scout")
    Container.carry_out("scout")
    Container.objects.filter(pk="scout").update(config={"packages": ["jq"], "model": "opus"})
    assert update.auto() == ["scout"]
    Container.carry_out("scout")
    assert "cannot honour packages" in Container.named("scout").error
    assert update.auto() == []
    assert [row.name for row, _ in update.stale()] == ["scout"], "the operator still may"


def test_another_hyperhive_makes_it_stale(transactional_db, payload, monkeypatch):
    Container.spawn("scout")
    Container.carry_out("scout")
    assert update.stale() == []
    monkeypatch.setattr("lifecycle.drivers.local.release", lambda: "9.9.9")
    assert [row.name for row, _ in update.stale()] == ["scout"]
