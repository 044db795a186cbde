"""What an agent did: its turns and events, and the state derived from them.

The same rows on both sides: written in the container's journal, replayed to the host by cursor under the same numbers.
"""

import json
from datetime import datetime
from functools import cache
from sqlite3 import IntegrityError
from typing import Any

from django.db import models
from django.utils import timezone

from broker import hot
from broker.events import publish_on_commit
from broker.models import Lease
from broker.wire import Refused

from .logins import Login as Login
from .redact import redacted

# What the harness says of itself -> what it looks like; offline, rebuilding, failing and paused are the container's.
STATES = {
    "idle": "●",
    "thinking": "◐",
    "offline": "○",
    "login": "◇",
    "rebuilding": "▣",
    "failing": "✖",
    "paused": "‖",
}

TURN_FIELDS = (
    "id", "number", "session_id", "started_at", "ended_at", "outcome", "error", "model", "cli_version", "cost_usd",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "chain",
)  # fmt: skip


class Agent(models.Model):
    """One agent as its harness describes it; `seq` is the newest event known here."""

    name = models.CharField(max_length=24, primary_key=True)
    seq = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0, help_text="Of its events that are kept here.")
    state = models.CharField(max_length=10, default="offline")
    state_since = models.DateTimeField(default=timezone.now)
    why = models.CharField(max_length=300, default="", help_text="One sentence, where the state needs one.")
    until = models.DateTimeField(null=True, help_text="When a held inbox is tried again.")
    harness = models.CharField(max_length=36, default="", help_text="The harness process that last said hello.")
    seen_at = models.DateTimeField(null=True)
    cli_version = models.CharField(max_length=40, default="")
    interrupt = models.CharField(max_length=36, default="", help_text="The turn that the operator wants ended.")
    keep = models.BooleanField(default=False, help_text="What that turn was at is to be done later.")

    def __str__(self) -> str:
        return self.name

    def says(self, state: str, why: str = "", until: datetime | None = None, at: datetime | None = None) -> None:
        """Take over what the harness says of itself; the age counts from when it began to say so."""
        if state not in STATES:
            raise Refused("bad_params", f"No state is called {state[:40]!r}.", "unknown_state")
        if state != self.state:
            self.state_since = at or timezone.now()
        self.state, self.why, self.until = state, why[:300], until
        self.save(update_fields=["state", "state_since", "why", "until"])
        publish_on_commit("containers", f"agent:{self.name}")


class Turn(models.Model):
    """One wake-up: a claimed message in, one run of claude, an outcome."""

    id = models.CharField(max_length=36, primary_key=True)
    agent = models.CharField(max_length=24)
    number = models.PositiveIntegerField()
    session_id = models.CharField(max_length=64, default="")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(
        max_length=20, default="", help_text="'' while it runs, 'ok', or a code of the failure table."
    )
    error = models.CharField(max_length=500, default="")
    model = models.CharField(max_length=80, default="")
    cli_version = models.CharField(max_length=40, default="")
    cost_usd = models.FloatField(default=0)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    chain = models.CharField(max_length=64, default="")
    # The journal's alone: whether the host has heard how it ended.
    settled = models.BooleanField(default=False)

    class Meta:
        ordering = ("agent", "number")
        constraints = [models.UniqueConstraint(fields=("agent", "number"), name="turn_once_per_number")]
        indexes = [models.Index(fields=("started_at",), name="turn_started")]

    def __str__(self) -> str:
        return f"{self.agent} turn {self.number}"

    @property
    def tokens(self) -> int:
        """All that went in and came out."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    @classmethod
    def record(cls, agent: str, row: dict[str, Any]) -> None:
        """Take over a turn as its harness wrote it; of another agent's turn nothing changes."""
        values = TURN_DEFAULTS | {name: row[name] for name in TURN_FIELDS if name in row} | {"agent": agent}
        values["error"] = redacted(values["error"])
        for name in ("started_at", "ended_at"):
            values[name] = values[name] and hot.stored(values[name])
        try:
            known = hot.rows(record_statement(frozenset(row)), **values)
        except IntegrityError:
            number = f"{agent} has another turn {values['number']} already."
            raise Refused("conflict", number, "turn_number") from None
        if not known:
            raise Refused("conflict", "A turn of that id belongs to another agent.", "not_yours")
        publish_on_commit(f"agent:{agent}", "turns")

    def as_json(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in TURN_FIELDS}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


TURN_DEFAULTS = {
    field.name: field.get_default() for field in Turn._meta.concrete_fields if field.name in (*TURN_FIELDS, "settled")
}


@cache
def record_statement(given: frozenset[str]) -> str:
    """Insert a turn, or update the columns that are given of one that is there, unless it is another agent's."""
    columns = [*TURN_DEFAULTS, "agent"]
    updated = ", ".join(f"{name} = excluded.{name}" for name in TURN_FIELDS if name in given and name != "id")
    return (
        f"INSERT INTO agents_turn ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)}) "  # noqa: S608
        f"ON CONFLICT (id) DO UPDATE SET {updated} WHERE agent = excluded.agent RETURNING id"
    )


def size(payload: Any) -> int:
    """Bytes of a payload, as the budget counts them."""
    return len(json.dumps(payload, ensure_ascii=False))


class Event(models.Model):
    """One line of claude's stream-json, or one of the harness's own; numbered per agent without gap or double."""

    agent = models.CharField(max_length=24)
    seq = models.BigIntegerField()
    turn = models.CharField(max_length=36, null=True)
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=40)
    payload = models.JSONField(default=dict)

    class Meta:
        ordering = ("id",)
        constraints = [models.UniqueConstraint(fields=("agent", "seq"), name="event_once_per_seq")]

    def __str__(self) -> str:
        return f"{self.agent} {self.seq} {self.kind}"

    @classmethod
    def take_over(cls, agent: Agent, rows: list[dict[str, Any]]) -> int:
        """Store a replayed run of events; what is here already is passed over, a gap is refused. The newest number here."""
        # The harness has done it already, as far as it is the harness that speaks.
        new = [row | {"payload": redacted(row["payload"])} for row in rows if row["seq"] > agent.seq]
        expected = range(agent.seq + 1, agent.seq + 1 + len(new))
        if [row["seq"] for row in new] != list(expected):
            raise Refused("conflict", f"The next event of {agent.name} must be number {agent.seq + 1}.", "event_gap")
        Event.objects.bulk_create(
            Event(agent=agent.name, **{name: row[name] for name in ("seq", "turn", "at", "kind", "payload")})
            for row in new
        )
        if new:
            agent.seq = new[-1]["seq"]
            agent.bytes += sum(size(row["payload"]) for row in new)
            agent.save(update_fields=["seq", "bytes"])
            publish_on_commit("events", f"events:{agent.name}")
        for row in new:
            if row["kind"] == "state":
                agent.says(
                    **{name: row["payload"][name] for name in ("state", "why", "until") if name in row["payload"]},
                    at=row["at"],
                )
        return agent.seq

    @classmethod
    def of_host(cls, agent: str, kind: str, payload: dict[str, Any]) -> None:
        """What the host itself saw of an agent. It counts down from -1: the numbers above are its harness's own."""
        lowest = cls.objects.filter(agent=agent).aggregate(models.Min("seq"))["seq__min"] or 0
        turn = Lease.objects.filter(recipient=agent).values_list("turn", flat=True).first()
        cls.objects.create(agent=agent, seq=min(lowest, 0) - 1, turn=turn, kind=kind, payload=payload)
        publish_on_commit("events", f"events:{agent}")

    def as_json(self) -> dict[str, Any]:
        names = ("id", "agent", "seq", "turn", "kind", "payload")
        return {name: getattr(self, name) for name in names} | {"at": self.at.isoformat()}
