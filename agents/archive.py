"""Keeps each agent's events within their budget of bytes: the oldest go to a compressed file per day, and a row says so."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db.models import F

from broker.events import publish_on_commit

from .models import Agent, Event, size

# Bytes and rows that are moved at once: their deletion is one short job of the writer's.
CHUNK, ROWS = 1024 * 1024, 500


class Moved(NamedTuple):
    """What is in a file by now: events of `agent` up to the number `last`, the newest of them in `file`."""

    agent: str
    last: int
    rows: int
    bytes: int
    file: str


def over_budget() -> list[str]:
    return list(Agent.objects.filter(bytes__gt=settings.HIVE_EVENTS_BYTES).values_list("name", flat=True))


def folder(agent: str) -> Path:
    return settings.HIVE_STATE_DIR / "run" / agent / "events"


def move(agent: str) -> Moved | None:
    """Append the oldest events to the files of their days, on disk; None when there is nothing to move.

    They are deleted by `drop()` afterwards: after a crash in between they stand in the file twice, by the same numbers.
    """
    rows, bytes_ = [], 0
    for event in oldest(agent):
        rows.append(event)
        bytes_ += size(event.payload)
        if bytes_ > CHUNK:
            break
    if not rows:
        return None
    folder(agent).mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_room(agent)
    for day in sorted({row.at.date() for row in rows}):
        _append(folder(agent) / f"{day}.jsonl.gz", [row for row in rows if row.at.date() == day])
    return Moved(agent, rows[-1].seq, len(rows), bytes_, f"{rows[-1].at.date()}.jsonl.gz")


def oldest(agent: str) -> Iterator[Event]:
    return Event.objects.filter(agent=agent).exclude(kind="gap").order_by("seq")[:ROWS].iterator(chunk_size=20)


def _make_room(agent: str) -> None:
    """An agent decides how much there is, and of which days: of what is more than the files may take, the oldest go."""
    left = settings.HIVE_EVENTS_FILES_BYTES
    for path in sorted(folder(agent).glob("*.jsonl.gz"), reverse=True):
        left -= path.stat().st_blocks * 512
        if left < 0:
            path.unlink()


def _append(path: Path, rows: list[Event]) -> None:
    """One more gzip member (RFC 1952, 2.2): such files are read as one."""
    with open(path, "ab") as file:
        file.write(gzip.compress("".join(json.dumps(row.as_json()) + "\n" for row in rows).encode(), compresslevel=3))
        file.flush()
        os.fsync(file.fileno())


def drop(moved: Moved) -> None:
    """A job for the writer: in the place of what was moved stands one row that says how much that was."""
    gone = Event.objects.filter(agent=moved.agent, seq__lte=moved.last)
    before = sum(int(gap.get("moved", 0)) for gap in gone.filter(kind="gap").values_list("payload", flat=True))
    gone.filter(seq__lt=moved.last).delete()
    payload = {"moved": before + moved.rows, "file": moved.file}
    gone.update(kind="gap", payload=payload, turn=None)
    Agent.objects.filter(name=moved.agent).update(bytes=F("bytes") - moved.bytes)
    publish_on_commit(f"agent:{moved.agent}")
