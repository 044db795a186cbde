"""Keeps what is true in step with what is wanted: at the daemon's start, then every two seconds, for as long as it runs.

Running agents are taken up, never started anew; the dead that should run are started again, ever later, and in the end not
at all; containers that nobody knows are told of, never killed.
"""

import logging
import os
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import F, Q
from django.utils import timezone

from broker.events import publish

from . import drivers, pool, repos, room, steps
from .config import AgentConfig
from .drivers import DriverError
from .models import Container

log = logging.getLogger("hive.lifecycle")

# Seconds: between two restarts at most, and how long a run must last to be forgiven what was before.
LONGEST_PAUSE, GOOD_RUN = 300, 600
# So many deaths within GOOD_RUN seconds, and a human has to look.
GIVE_UP = 5
# Seconds that a purged row still tells what was removed.
EPITAPH = 15

# What runs as it should costs a look at its name; what rests as it should costs nothing. All others are looked at.
STEADY = Q(desired=Container.Desired.RUNNING, status=Container.Status.RUNNING, op="", due=False, purged__isnull=True)
MOVING = Q(desired=Container.Desired.RUNNING) | ~Q(op="") | Q(purged__isnull=False)

# Name -> pidfd of a container that runs. One poll() asks about all of them, so a tick costs the same for 2 and for 200.
_watched: dict[str, int] = {}
_ticking = threading.Lock()


def start() -> dict[str, list[str]]:
    """The daemon begins: take up its workers and reconcile."""
    rooms()
    repos.sweep()
    pool.start(steps.carry_out)
    return reconcile_all()


def rooms() -> None:
    """What the host has forgotten of the agents' file systems, and the one that the manager shares with us."""
    for words in room.furnish_all(list(Container.objects.values_list("name", flat=True))):
        log.error("the files of an agent cannot be had: %s", words)
    try:
        bounded = settings.HIVE_DRIVER and not room.missing(settings.HIVE_DRIVER)
        room.furnish(room.of_proposed(), room.size(AgentConfig()) if bounded else 0)
    except OSError as error:
        log.error("the proposed repositories cannot be had: %s", error)


def stop() -> None:
    """The daemon ends; the agents go on."""
    pool.stop()
    with _ticking:
        for name in list(_watched):
            os.close(_watched.pop(name))


def stop_agents(grace: float = 3.0) -> None:
    """`hive serve --stop-agents`: all of them end, and those that are wanted start again with the next daemon."""
    pool.stop()
    # A start that is under way would outlive us: it ends first, at its next step.
    pool.stop()
    running = [row for row in Container.objects.all() if row.now().running]

    def end(row: Container) -> None:
        try:
            drivers.driver(row.driver).stop(row.name, grace)
            steps.let_go(row.name, "the daemon was stopped with its agents")
        except DriverError as error:
            log.error("%s: %s", row.name, error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=16) as threads:
        list(threads.map(end, running))


def reconcile_all() -> dict[str, list[str]]:
    """Compare each row with what its driver sees, and set right what differs. What was found, by kind."""
    found: dict[str, list[str]] = {"resumed": [], "reattached": [], "started": [], "stopped": [], "unknown": unknown()}
    for row in Container.objects.iterator():
        if kind := reconcile(row):
            found[kind].append(row.name)
    if found["unknown"]:
        log.warning("containers that this hive does not know, left alone: %s", ", ".join(found["unknown"]))
    return found


def reconcile(row: Container) -> str:
    if row.op:
        pool.nudge(row.name)
        return "resumed"
    running = row.now().running
    if row.desired == Container.Desired.RUNNING:
        if running:
            return "reattached"
        again(row)
        return "started"
    if running:
        ask(row, "stop")
        return "stopped"
    return ""


def unknown() -> list[str]:
    known = set(Container.objects.values_list("name", flat=True))
    return sorted({name for driver in drivers.DRIVERS.values() for name in driver.list()} - known)


def tick() -> None:
    """Every two seconds, in a thread: notice who has ended, start who is due, hurry what was left lying."""
    with _ticking:
        forget_the_ended()
        for name, driver in Container.objects.filter(STEADY).values_list("name", "driver"):
            drivers.driver(driver).trim(name) if name in _watched else look_at(Container.named(name))
        for row in Container.objects.exclude(STEADY).filter(MOVING):
            look_at(row)


def look_at(row: Container) -> None:
    if row.op:
        if not pool.busy(row.name):
            pool.nudge(row.name)
    elif row.purged is not None:
        if row.status_since < timezone.now() - timedelta(seconds=EPITAPH):
            Container.gone().filter(pk=row.pk).delete()
            publish("containers")
    elif row.desired == Container.Desired.RUNNING:
        keep_running(row)


def keep_running(row: Container) -> None:
    if runs(row):
        drivers.driver(row.driver).trim(row.name)
        if row.status != Container.Status.RUNNING and steps.said_hello(row.name, row.now()):
            steps.settle(row, {"status": Container.Status.RUNNING, "error": "", "retry_at": None})
        if row.due:
            row.rebuild_when_idle()
    elif row.status == Container.Status.RUNNING:
        died(row)
    elif row.status == Container.Status.STOPPED and (row.retry_at is None or row.retry_at <= timezone.now()):
        again(row, restarts=F("restarts") + 1)


def runs(row: Container) -> bool:
    """Whether its first process lives, by the descriptor that we hold, or now take, of it."""
    if row.name not in _watched:
        fd = drivers.driver(row.driver).watch(row.name)
        if fd is None:
            return False
        _watched[row.name] = fd
    return True


def forget_the_ended() -> None:
    poll = select.poll()
    names = {fd: name for name, fd in _watched.items()}
    for fd in names:
        poll.register(fd, select.POLLIN)
    for fd, _ in poll.poll(0):
        os.close(_watched.pop(names[fd]))


def died(row: Container) -> None:
    """It ended and nobody asked it to: its messages wait again, and it is started again, or too often."""
    driver = drivers.driver(row.driver)
    status = driver.wait(row.name, 0)
    if not Container.objects.filter(pk=row.pk, intent=row.intent, op="").exists():
        return  # somebody has asked for it meanwhile
    steps.let_go(row.name, "its harness ended in the middle of a turn")
    now = timezone.now()
    good = status.started_at is not None and (now - status.started_at).total_seconds() >= GOOD_RUN
    deaths = [*([] if good else row.deaths), now.timestamp()][-2 * GIVE_UP :]
    full = room.complaint(row.name)
    result: dict[str, Any] = {"deaths": deaths, "error": f"It ended {steps.exit_words(status.exit_code)}.{full}"}
    if sum(death > time.time() - GOOD_RUN for death in deaths) >= GIVE_UP:
        words = f"It ended {GIVE_UP} times within {GOOD_RUN // 60} minutes, the last time {steps.exit_words(status.exit_code)}."
        result = {"deaths": deaths, **steps.failed(words + steps.tail(row, driver)), "retry_at": None}
    else:
        pause = min(LONGEST_PAUSE, 2 ** (len(deaths) - 1))
        result |= {"status": Container.Status.STOPPED, "retry_at": now + timedelta(seconds=pause)}
    log.warning("%s: %s", row.name, result["error"])
    steps.settle(row, result)


def again(row: Container, **columns: Any) -> None:
    ask(row, "start", retry_at=None, **columns)


def ask(row: Container, op: str, **columns: Any) -> None:
    """Ask on the hive's own account: only where nobody has asked for anything meanwhile."""
    unasked = Container.objects.filter(pk=row.pk, intent=row.intent, op="")
    if unasked.update(op=op, intent=F("intent") + 1, due=False, **columns):
        pool.nudge(row.name)
