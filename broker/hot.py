"""What every message pays for, as raw SQL through Django's connection: one statement to send, two to claim, two to ack.

A row that comes back is JSON-ready, its columns those of `FIELDS`; tests hold the statements to what the ORM says.
States are literals, not parameters: SQLite proves only then that a partial index serves (sqlite.org/partialindex.html).
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections

# What a client learns of a message.
FIELDS = (
    "id", "cid", "sender", "recipient", "body", "reply_to", "chain", "hop", "state", "attempt", "turn",
    "created_at", "claimed_at", "delivered_at", "reason",
)  # fmt: skip
TIMES = ("created_at", "claimed_at", "delivered_at")

# A message that a turn sends inherits the chain of what that turn holds, one hop further. No row: somebody has to say why.
POST = """
    INSERT INTO broker_message (cid, sender, recipient, body, reply_to, chain, hop, reason, created_at, {columns})
    SELECT :cid, :sender, :recipient, :body, :reply_to, COALESCE(cause.chain, :cid), COALESCE(cause.hop + 1, 0), '', :now,
        {values}
    FROM (SELECT 1) LEFT JOIN (
        SELECT chain, hop FROM broker_message WHERE turn = :turn AND state = 'claimed' AND recipient = :sender
        ORDER BY id LIMIT 1
    ) AS cause
    WHERE EXISTS (SELECT 1 FROM broker_mailbox WHERE name = :recipient AND open)
        AND {room}
    ON CONFLICT (sender, cid) DO NOTHING
    RETURNING id, chain, hop
"""
QUEUE = POST.format(
    columns="state, attempt",
    values="'queued', 0",
    room="""(SELECT COUNT(*) FROM (
            SELECT 1 FROM broker_message WHERE recipient = :recipient AND state = 'queued' LIMIT :full
        )) < :full""",
)
# Queued and claimed at once, for the turn of a reader that waits: under what CLAIM asks for, and where no older one waits.
HAND = POST.format(
    columns="state, attempt, turn, key, claimed_at",
    values="'claimed', 1, :reader, :key, :now",
    room="""NOT EXISTS (SELECT 1 FROM broker_message WHERE recipient = :recipient AND state = 'queued')
        AND NOT EXISTS (SELECT 1 FROM broker_lease WHERE recipient = :recipient AND turn <> :reader)
        AND NOT EXISTS (SELECT 1 FROM broker_message WHERE turn = :reader AND state = 'claimed' AND key = :key)""",
)

# In a RETURNING a column has no type, and without the cast the index on names would not serve.
# Nothing while another turn of the recipient holds a lease, or when this very call has claimed before.
CLAIM = """
    UPDATE broker_message SET state = 'claimed', attempt = attempt + 1, turn = :turn, key = :key, claimed_at = :now
    WHERE id IN (
        SELECT id FROM broker_message WHERE recipient = :recipient AND state = 'queued'
            AND NOT EXISTS (SELECT 1 FROM broker_lease WHERE recipient = :recipient AND turn <> :turn)
            AND NOT EXISTS (SELECT 1 FROM broker_message WHERE turn = :turn AND state = 'claimed' AND key = :key)
        ORDER BY id LIMIT :most
    )
    RETURNING {columns}, (SELECT role FROM broker_mailbox WHERE name = CAST(sender AS TEXT))
"""
CLAIMED = """
    SELECT {columns}, (SELECT role FROM broker_mailbox WHERE name = sender) FROM broker_message
    WHERE turn = :turn AND state = 'claimed' AND recipient = :recipient AND key = :key ORDER BY id
"""
SENT = "SELECT {columns} FROM broker_message WHERE sender = :sender AND cid = :cid"
OPEN = "SELECT open FROM broker_mailbox WHERE name = :name"
ROLE = "SELECT role FROM broker_mailbox WHERE name = :name"
OPEN_NAMES = "SELECT name FROM broker_mailbox WHERE open"
ACK = """
    UPDATE broker_message SET state = 'delivered', delivered_at = :now, reason = '',
        aged = COALESCE((SELECT seconds FROM broker_age WHERE id = 1), 0)
    WHERE turn = :turn AND state = 'claimed' AND recipient = :recipient
    RETURNING id
"""
ANY = """
    SELECT EXISTS (SELECT 1 FROM broker_message WHERE recipient = :recipient AND state = 'queued')
        OR EXISTS (SELECT 1 FROM broker_message WHERE turn = :turn AND state = 'claimed')
"""
HOLD = """
    INSERT INTO broker_lease (turn, recipient, boot, until) VALUES (:turn, :recipient, :boot, :until)
    ON CONFLICT (turn) DO UPDATE SET recipient = excluded.recipient, boot = excluded.boot, until = excluded.until
"""
VACUUM = """
    DELETE FROM broker_message WHERE id IN (
        SELECT id FROM broker_message WHERE state = 'delivered' AND aged < :oldest ORDER BY aged LIMIT :most
    )
    RETURNING id
"""
KNOWN = "SELECT 1 FROM broker_lease WHERE turn = :turn"
DROP = "DELETE FROM broker_lease WHERE turn = :turn AND recipient = :recipient RETURNING turn"


_thread = threading.local()


def rows(statement: str, **params: Any) -> list[tuple]:
    """Runs it in whatever transaction is open, past Django's cursor, which costs as much again as the statement."""
    own = getattr(_thread, "own", None)
    if own is None:
        connection.ensure_connection()
        own = connection.connection
    return own.execute(statement, params).fetchall()


def connect() -> sqlite3.Connection:
    """One more connection, as Django makes them, that any thread may use; it does not wait for another one's transaction."""
    whole = connections.create_connection(DEFAULT_DB_ALIAS)
    whole.connect()
    whole.connection.execute("PRAGMA busy_timeout = 0")
    return whole.connection


@contextmanager
def on(own: sqlite3.Connection) -> Iterator[None]:
    """What this thread asks by `rows` meanwhile, it asks of that connection."""
    _thread.own, _thread.now = own, now()
    try:
        yield
    finally:
        _thread.own = _thread.now = None


def now() -> str:
    """As Django writes a datetime into SQLite; one and the same for all that is done `on` a connection."""
    return getattr(_thread, "now", None) or datetime.now(UTC).replace(tzinfo=None).isoformat(" ")


def stored(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ")


@cache
def with_columns(statement: str) -> str:
    # A bare time would be parsed into a datetime by its declared type, to be formatted again.
    columns = (f"{name} || ''" if name in TIMES else name for name in FIELDS)
    return statement.format(columns=", ".join(columns))


def post(message: dict[str, Any], turn: str | None, full: int) -> dict[str, Any] | None:
    """Queue it: the row as JSON, or None when the recipient takes none, has `full` waiting, or the cid is known."""
    at = now()
    found = rows(QUEUE, turn=turn, full=full, now=at, **message)
    return as_posted(message, at, *found[0]) if found else None


def hand(message: dict[str, Any], turn: str | None, reader: str, key: str) -> dict[str, Any] | None:
    """As `post`, and claimed in the same statement for the turn `reader`; None too where it may not have it, or not yet."""
    at = now()
    found = rows(HAND, turn=turn, reader=reader, key=key, now=at, **message)
    return as_posted(message, at, *found[0]) if found else None


def as_posted(message: dict[str, Any], at: str, id_: int, chain: str, hop: int) -> dict[str, Any]:
    whole = dict.fromkeys(FIELDS) | message
    whole |= {
        "id": id_,
        "chain": chain,
        "hop": hop,
        "state": "queued",
        "attempt": 0,
        "reason": "",
        "created_at": iso(at),
    }
    return whole


def as_handed(posted: dict[str, Any], turn: str) -> dict[str, Any]:
    """What its reader gets of what was `hand`ed: as `claim` would tell it."""
    [(role,)] = rows(ROLE, name=posted["sender"]) or [("agent",)]
    claimed = {"state": "claimed", "attempt": 1, "turn": turn, "claimed_at": posted["created_at"], "sender_role": role}
    return posted | claimed


def claim(recipient: str, turn: str, key: str, most: int) -> list[dict[str, Any]]:
    """The oldest that wait, for that turn, each with its `sender_role`."""
    taken = rows(with_columns(CLAIM), recipient=recipient, turn=turn, key=key, most=most, now=now())
    return [as_json(row) for row in sorted(taken)]


def claimed(recipient: str, turn: str, key: str) -> list[dict[str, Any]]:
    """What that very call has claimed before."""
    return [as_json(row) for row in rows(with_columns(CLAIMED), recipient=recipient, turn=turn, key=key)]


def sent(sender: str, cid: str) -> dict[str, Any] | None:
    """What that sender sent under that id before."""
    return next(map(plain, rows(with_columns(SENT), sender=sender, cid=cid)), None)


def as_json(row: tuple) -> dict[str, Any]:
    whole = plain(row[:-1])
    whole["sender_role"] = row[-1] or "agent"
    return whole


def plain(row: tuple) -> dict[str, Any]:
    whole = dict(zip(FIELDS, row, strict=True))
    for name in TIMES:
        whole[name] = iso(whole[name])
    return whole


def iso(at: str | None) -> str | None:
    return at and at.replace(" ", "T") + "+00:00"
