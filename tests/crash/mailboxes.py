"""What processes that are to be killed do with mailboxes, in stories: each makes a hive, and does all there is to do in it.

A story does the same again without harm, so whoever comes after a killed one simply does it; `told` is what was answered.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from broker import backups, points, tasks
from broker.age import DAY, Age
from broker.models import Lease, Mailbox, Message, boot_clock
from broker.writer import writer
from hyperhive import state
from hyperhive.restore import restore

NAMES = ("scout", "owl", "hm1nd")
# Messages of the story of the vacuum that are past their retention, and batches that take them.
OLD, BATCH = 60, 20


def make(story: str) -> None:
    state.open_database(settings.HIVE_STATE_DIR)
    Age.count()
    for name in NAMES:
        Mailbox.objects.create(name=name)
    Message.post("hm1nd", "hm1nd", "first", cid="first-0000")
    MAKES.get(story, lambda: None)()


def queue() -> None:
    for name in ("scout", "owl"):
        Message.post("hm1nd", name, "x", cid=f"{name}-0000")


def claim() -> None:
    queue()
    for name in ("scout", "owl"):
        Message.take(name, f"turn-{name}", "key", 600)


def lapse() -> None:
    claim()
    Lease.objects.update(until=boot_clock() - 1)


def age() -> None:
    queue()
    old = {"sender": "a", "recipient": "owl", "body": "x", "state": "delivered"}
    Message.objects.bulk_create(Message(cid=f"old-{n}", aged=0, **old) for n in range(OLD))
    Message.objects.create(cid="young", **old | {"aged": 39 * DAY})
    Age.objects.update(seconds=40 * DAY)


def many_backups() -> None:
    copy = backups.make("hourly")
    for number in range(2, 40):
        os.link(copy, copy.with_name(f"hourly-{number:06}-20260101-{number:06}.sqlite3"))


def older() -> None:
    """As the database was before the last migrations of the broker."""
    executor = MigrationExecutor(connection)
    executor.migrate([("broker", "0001_initial")])


def one_backup() -> None:
    backups.make("hive")
    Message.post("hm1nd", "hm1nd", "second", cid="second-0000")


MAKES: dict[str, Callable[[], None]] = {
    "claim": queue, "ack": claim, "expire": lapse, "vacuum": age, "backup": many_backups, "migrate": older,
    "restore": one_backup,
}  # fmt: skip


# ---- doing all there is to do -----------------------------------------------------------------------------------------


def do(story: str) -> dict[str, Any]:
    """How it was found, and how it is left."""
    if story not in ("migrate", "restore"):
        state.open_database(settings.HIVE_STATE_DIR)
        Age.count()
        writer.start()
    found = left(story) if story not in ("migrate", "restore") else None
    for done in STORIES[story]():
        with open(settings.HIVE_STATE_DIR / "told", "a") as told:
            told.write(f"{done}\n")
    return {"found": found, "left": left(story)}


def send() -> Iterator[str]:
    for number in range(3):
        writer.wait(partial(Message.post, "hm1nd", "scout", "x", cid=f"sent-{number:04}"))
        yield f"queued sent-{number:04}"


def take() -> Iterator[str]:
    for name in ("scout", "owl"):
        [message] = writer.wait(partial(Message.take, name, f"turn-{name}", "key", 600))
        yield f"claimed {message['cid']}"


def ack() -> Iterator[str]:
    for name in ("scout", "owl"):
        writer.wait(partial(Message.ack, name, f"turn-{name}"))
        yield f"delivered {name}-0000"


def expire() -> Iterator[str]:
    writer.wait(Lease.expire)
    yield "expired all"


def vacuum() -> Iterator[str]:
    tasks.STEP, tasks.LIMIT = BATCH, 0
    tasks.vacuum_now()
    yield "vacuumed all"


def backup() -> Iterator[str]:
    made = backups.make("hourly")
    yield f"made {made.name}"
    backups.prune()


def migrate() -> Iterator[str]:
    apply, count = MigrationExecutor.apply_migration, 0

    def counted(*args: Any, **how: Any) -> Any:
        nonlocal count
        done = apply(*args, **how)
        count += 1
        points.reached(f"migrate.after.{count}")
        return done

    MigrationExecutor.apply_migration = counted  # type: ignore[method-assign]
    state.open_database(settings.HIVE_STATE_DIR)
    yield "migrated all"


def put_back() -> Iterator[str]:
    restore(next((settings.HIVE_STATE_DIR / "backups").iterdir()))
    yield "restored all"


STORIES: dict[str, Callable[[], Iterator[str]]] = {
    "send": send, "claim": take, "ack": ack, "expire": expire, "vacuum": vacuum, "backup": backup, "migrate": migrate,
    "restore": put_back,
}  # fmt: skip


def left(story: str) -> dict[str, Any]:
    """What the story is about: nothing in it depends on when it happened, or how often it was begun."""
    whole: dict[str, Any] = {
        "integrity": connection.cursor().execute("PRAGMA integrity_check").fetchone()[0],
        "messages": list(Message.objects.values_list("cid", "state", "attempt", "turn")),
        "leases": list(Lease.objects.values_list("turn", "recipient")),
        "halves": [path.name for path in settings.HIVE_STATE_DIR.rglob("*.part")] if story == "backup" else [],
    }
    copies = [path.name for path in backups.newest_first()]
    bad = [name for name in copies if backups.damage(backups.directory() / name)]
    return whole | {"bad": bad, "copies": len(copies) if story == "backup" else 0}


def refused(reserve: int = 0) -> str:
    """Why the database is not opened; '' when it is."""
    settings.HIVE_DISK_RESERVE = reserve
    try:
        state.open_database(settings.HIVE_STATE_DIR)
    except state.CannotStart as cannot:
        return str(cannot)
    return ""


def kept() -> list[list[str]]:
    """What each database that was replaced holds, and the log beside it."""
    found = []
    for path in sorted((settings.HIVE_STATE_DIR / "replaced").glob("*/hive.sqlite3")):
        plain = sqlite3.connect(path)
        found.append([cid for (cid,) in plain.execute("SELECT cid FROM broker_message ORDER BY id")])
        plain.close()
    return found


ACTS: dict[str, Callable[..., Any]] = {"make_mailboxes": make, "do": do, "refused": refused, "kept": kept}
