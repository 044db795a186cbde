"""The journal's rows: plain jobs for the writer, each a transaction."""

import json
from datetime import datetime
from typing import Any

from django.utils import timezone

from agents.models import Agent, Event, Turn
from agents.redact import redacted
from broker import hot
from broker.models import FIELDS, Message
from broker.wire import encode

from . import storable

# Bytes of rows that go in one line of the wire, and how many of them.
BATCH, ROWS = 200 * 1024, 500
KEPT_TURNS = 200

Row = dict[str, Any]

# What every line of claude's pays for, past the ORM, which costs ten times as much.
NEXT = "UPDATE agents_agent SET seq = seq + 1 WHERE name = :agent RETURNING seq"
EVENT = """
    INSERT INTO agents_event (agent, seq, turn, at, kind, payload) VALUES (:agent, :seq, :turn, :at, :kind, :payload)
"""


def append(agent: str, kind: str, payload: Row, turn: str | None = None) -> int:
    """Store one event under the next number."""
    text = json.dumps(storable.payload(payload))
    if not (found := hot.rows(NEXT, agent=agent)):
        Agent.objects.create(name=agent)
        found = hot.rows(NEXT, agent=agent)
    [(seq,)] = found
    hot.rows(EVENT, agent=agent, seq=seq, turn=turn, at=hot.now(), kind=kind[:40], payload=text)
    return seq


def keep(turn: Turn, events: tuple[tuple[str, Row], ...]) -> None:
    turn.error = redacted(turn.error)
    turn.save()
    for kind, payload in events:
        append(turn.agent, kind, payload, turn.pk)


def newest_event(agent: str) -> int:
    return Agent.objects.filter(name=agent).values_list("seq", flat=True).first() or 0


def go_on_after(agent: str, seq: int) -> None:
    """The host has more events than we: the journal was lost, and its numbers must not be given twice."""
    Agent.objects.update_or_create(name=agent, defaults={"seq": seq})
    append(agent, "log", {"text": "The journal in the container was lost; it begins anew here."})


def batch(agent: str, after: int) -> list[Row]:
    """The events after that number, as many as fit into one line."""
    rows: list[Row] = []
    size = 0
    for event in Event.objects.filter(agent=agent, seq__gt=after).order_by("seq")[:ROWS].iterator(chunk_size=20):
        if not rows and event.seq > after + 1:
            return skipped(after + 1, event.seq)
        row = as_row(event)
        size += len(encode(row))
        if rows and size > BATCH:
            break
        rows.append(row)
    return rows


def as_row(event: Event) -> Row:
    return {
        "seq": event.seq,
        "turn": event.turn,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "payload": event.payload,
    }


def skipped(first: int, until: int) -> list[Row]:
    """Stand-ins for events that the host lost after it had heard of them and we dropped them; the first says how many."""
    at = timezone.now().isoformat()
    numbers = range(first, min(until, first + ROWS))
    return [
        {
            "seq": seq,
            "turn": None,
            "at": at,
            "kind": "gap",
            "payload": {"skipped": until - first if seq == first else 0},
        }
        for seq in numbers
    ]


def prune(agent: str, before: int) -> None:
    """Drop what the host heard long ago."""
    Event.objects.filter(agent=agent, seq__lt=before).delete()
    old = (
        Turn.objects.filter(agent=agent, settled=True).order_by("-number").values_list("number", flat=True)[KEPT_TURNS:]
    )
    Turn.objects.filter(agent=agent, number__in=list(old)).delete()
    kept = Message.objects.order_by("-pk").values_list("pk", flat=True)[KEPT_TURNS:]
    Message.objects.filter(pk__in=list(kept)).delete()


# ---- turns ---------------------------------------------------------------------------------------------


def begin(turn: Turn, number: int, messages: list[Row], events: tuple[tuple[str, Row], ...]) -> None:
    """A turn and the messages it took, before anything is done about them."""
    turn.number = max(number, newest_number(turn.agent)) + 1
    for message in messages:
        known = {name: message[name] for name in FIELDS if name in message}
        Message.objects.update_or_create(pk=known.pop("id"), defaults=known)
    keep(turn, (("turn", {"phase": "start", "number": turn.number}), *events))


def newest_number(agent: str) -> int:
    return Turn.objects.filter(agent=agent).order_by("-number").values_list("number", flat=True).first() or 0


def last_session(agent: str) -> str:
    turns = Turn.objects.filter(agent=agent).exclude(session_id="").order_by("-number")
    return turns.values_list("session_id", flat=True).first() or ""


def failures_in_a_row(agent: str, retried: list[str]) -> int:
    """How many of the newest turns ended with one of these codes, so that a restart does not forget the back-off."""
    count = 0
    for outcome in Turn.objects.filter(agent=agent).order_by("-number").values_list("outcome", flat=True)[:20]:
        if outcome not in retried:
            break
        count += 1
    return count


def unsettled(agent: str) -> list[Turn]:
    return list(Turn.objects.filter(agent=agent, settled=False).order_by("number"))


def left_open(agent: str, at: datetime, sentence: str) -> list[Turn]:
    """Close the turns that a process before us was killed in."""
    turns = list(Turn.objects.filter(agent=agent, outcome=""))
    for turn in turns:
        turn.outcome, turn.ended_at, turn.error = "killed", at, sentence
        keep(turn, (("turn", {"phase": "end", "number": turn.number, "outcome": "killed", "error": sentence}),))
    return turns
