"""Carries out what a container's row asks for, step by step: each step may be done twice, so a crash costs nothing.

The wish was committed before the first step, the result is after the last. A later wish ends the work on an earlier one.
"""

import dataclasses
import logging
import os
from collections.abc import Callable
from subprocess import SubprocessError
from typing import Any

from django.db import transaction
from django.utils import timezone
from git.exc import GitError

from agents.models import Agent, Event, Login, Turn
from broker.events import publish
from broker.models import Lease, Mailbox, Message
from broker.wire import Refused

from . import drivers, paths, pool, repos, room, safe_fs
from .drivers import Driver, DriverError, Spec
from .models import Container

log = logging.getLogger("hive.lifecycle")

# Seconds that a harness has to say hello, and between two looks.
HELLO, LOOK = 30.0, 0.1
# Bytes of its log that an error shows.
TAIL = 600

Result = dict[str, Any]


class Superseded(Exception):
    """Something else is wanted of the container by now."""


def carry_out(name: str) -> None:
    """Until nothing is asked for any more."""
    while row := Container.objects.filter(pk=name).exclude(op="").first():
        try:
            result = STEPS[row.op](row, drivers.driver(row.driver))
        except Superseded:
            continue
        except (DriverError, Refused, OSError) as error:
            log.warning("%s: %s failed: %s", name, row.op, error)
            result = failed(str(error))
        except pool.Stopping:
            raise
        except Exception:  # a bug: the row has to say so before anybody hears of it
            settle(row, failed(f"The {row.op} of {name} failed for a reason that only the daemon's log can tell."))
            raise
        settle(row, result)


def failed(why: str) -> Result:
    return {"status": Container.Status.FAILING, "error": why[:2000]}


def at(row: Container, step: str, **columns: Any) -> None:
    """Say what is being done; Superseded when it is no longer wanted."""
    if not _write(row, step=step, **columns):
        raise Superseded


def settle(row: Container, result: Result) -> None:
    """The result, unless something else is wanted by now: that one settles it then."""
    _write(row, op="", step="", **result)
    # Its messages were held back meanwhile.
    publish(f"inbox:{row.pk}")


def _write(row: Container, **columns: Any) -> bool:
    if columns.get("status", row.status) != row.status:
        columns["status_since"] = timezone.now()
    for name, value in columns.items():
        setattr(row, name, value)
    written = Container.objects.filter(pk=row.pk, intent=row.intent).update(**columns)
    publish("containers", f"agent:{row.pk}")
    return bool(written)


# ---- the operations ---------------------------------------------------------------------------------------------------


def start(row: Container, driver: Driver) -> Result:
    spec = told(row)
    if not driver.status(row.name).running:
        at(row, "preparing its directories", status=Container.Status.CREATING, error="")
        let_go(row.name, "its harness ended")
        make_repositories(row)
        driver.prepare(spec)
        at(row, "starting its processes")
        driver.start(spec)
    return greeted(row, driver, spec)


def make_repositories(row: Container) -> None:
    """The one that the manager edits, and ours of what is applied; an agent can do without either, so it starts anyhow."""
    try:
        owner = (Container.objects.filter(role="manager").first() or row).host_uid
        safe_fs.give(paths.config_dir(row.name).parent, os.geteuid(), 0o755)
        safe_fs.give(paths.config_dir(row.name), owner)
        repos.seed(row.name, owner, row.config_file, row.source)
        applied = repos.Applied(row.name)
        now = applied.current()
        if now != row.source.encode():
            words = f"Spawned by {row.spawned_by}" if now is None else "What it was started with"
            applied.commit({row.config_file: row.source.encode()}, words, row.spawned_by)
    except (OSError, SubprocessError, GitError, repos.BadCommit) as error:
        log.warning("the repositories of %s cannot be made: %s", row.name, error)


def greeted(row: Container, driver: Driver, spec: Spec) -> Result:
    """Wait until the harness that was started has said hello."""
    at(row, "waiting for its harness to say hello")
    for _ in range(max(1, int(HELLO / LOOK))):
        status = driver.status(row.name)
        if not status.running:
            status = driver.wait(row.name, 0)  # its outer process may still have the exit code to write
            return failed(f"It ended as it was started, {exit_words(status.exit_code)}.{tail(row, driver)}")
        if said_hello(row.name, status):
            return {
                "status": Container.Status.RUNNING,
                "error": "",
                "fingerprint": status.fingerprint,
                "retry_at": None,
            }
        pool.pause(LOOK)
        if not Container.objects.filter(pk=row.pk, intent=row.intent).exists():
            raise Superseded
    return failed(f"Its harness has not said hello within {HELLO:.0f} s.{tail(row, driver)}")


def said_hello(name: str, status: drivers.Status) -> bool:
    seen = Agent.objects.filter(pk=name).values_list("seen_at", flat=True).first()
    return bool(seen and (status.started_at is None or seen >= status.started_at))


def stop(row: Container, driver: Driver) -> Result:
    at(row, "asking its harness to end")
    driver.stop(row.name)
    let_go(row.name, "it was stopped")
    return {"status": Container.Status.STOPPED, "error": "", "retry_at": None}


def kill(row: Container, driver: Driver) -> Result:
    at(row, "killing its processes")
    driver.kill(row.name)
    let_go(row.name, "it was killed")
    return {"status": Container.Status.STOPPED, "error": "", "retry_at": None}


def restart(row: Container, driver: Driver) -> Result:
    at(row, "asking its harness to end")
    driver.stop(row.name)
    return start(row, driver)


def rebuild(row: Container, driver: Driver) -> Result:
    """What cannot be prepared leaves what runs as it is."""
    at(row, "preparing the new container")
    spec = told(row)
    try:
        anew = driver.update(spec)
    except DriverError as error:
        if driver.status(row.name).running:
            return {"error": f"The rebuild failed, the old container runs on: {error}"}
        raise
    if anew or not driver.reloads or not driver.status(row.name).running:
        return restart(row, driver)
    return greeted(row, driver, spec)


def destroy(row: Container, driver: Driver) -> Result:
    at(row, "ending its processes", status=Container.Status.DESTROYING)
    driver.stop(row.name)
    driver.destroy(row.name)
    let_go(row.name, "it was destroyed")
    Mailbox.objects.filter(pk=row.name).update(open=False)
    return {"status": Container.Status.DESTROYED, "error": "", "paused": False, "purged": None}


def purge(row: Container, driver: Driver) -> Result:
    """Destroy it, then its files, then its rows; what was removed stays to be read for a moment."""
    destroy(row, driver)
    at(row, "telling those who wrote to it", status=Container.Status.PURGING)
    with transaction.atomic():
        for box in Mailbox.objects.filter(pk=row.name):
            box.close(f"{row.name} was destroyed and purged")
    removed = row.purged or []
    at(row, "giving back its part of the disk", purged=removed)
    if done := room.remove(room.of(row.name)):
        removed.append(done.as_json())
    for place in paths.purged(row.name, row.role):
        at(row, f"removing {place.parent.name}/{place.name}", purged=removed)
        if done := safe_fs.purge(place):
            removed.append(done.as_json())
    with transaction.atomic():
        for rows in (Event.objects.filter(agent=row.name), Turn.objects.filter(agent=row.name)):
            rows.delete()
        Agent.objects.filter(pk=row.name).delete()
        Login.objects.filter(pk=row.name).delete()
        Mailbox.objects.filter(pk=row.name).delete()
    return {"status": Container.Status.DESTROYED, "error": "", "purged": removed}


STEPS: dict[str, Callable[[Container, Driver], Result]] = {
    "start": start,
    "stop": stop,
    "kill": kill,
    "restart": restart,
    "rebuild": rebuild,
    "destroy": destroy,
    "purge": purge,
}


# ---- what they share --------------------------------------------------------------------------------------------------


def told(row: Container) -> Spec:
    """Its spec, whose driver tells what a long step is at, and ends it when it is no longer wanted."""

    def say(words: str) -> None:
        if pool.stopping.is_set():
            raise pool.Stopping
        at(row, words[:80])

    return dataclasses.replace(row.spec(), say=say)


def let_go(name: str, why: str) -> None:
    """Its processes are gone for certain: what its turns held waits again at once, not when the leases run out."""
    with transaction.atomic():
        for lease in Lease.objects.filter(recipient=name):
            Message.release(name, lease.turn, why)
        Agent.objects.filter(pk=name).exclude(state="offline").update(
            state="offline", state_since=timezone.now(), why="", until=None, interrupt=""
        )


def exit_words(code: int | None) -> str:
    if code is None:
        return "and nobody saw its exit code"
    if code > 128:
        return f"killed by signal {code - 128}"
    return f"with exit code {code}"


def tail(row: Container, driver: Driver) -> str:
    """The end of its log, to stand in an error."""
    words = driver.logs(row.name, most=TAIL)[0].strip()
    return room.complaint(row.name) + (f" The end of its log: {words}" if words else " It wrote nothing.")
