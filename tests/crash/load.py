"""Processes under load that are to be killed: a host of mailboxes, and who sends and receives over its sockets.

The host is what `hive serve` is without pages and containers: the same state, database, writer, verbs, doors and wire.
"""

import asyncio
import os
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from broker import disk, events, tasks, wire
from broker.age import Age
from broker.models import OPERATOR, Lease, Mailbox, Message
from broker.wire import Client, Refused
from broker.writer import writer
from hyperhive import doors, state
from hyperhive.caller import Caller
from hyperhive.restore import restore

LEASE = 2.0


# ---- the host ---------------------------------------------------------------------------------------------------------


def host(names: list[str]) -> int:
    """Until it is killed; 75 when another one runs here."""
    settings.HIVE_RUNTIME_DIR = settings.HIVE_STATE_DIR / "run"
    settings.HIVE_DISK_RESERVE = 1024 * 1024
    try:
        state.open_state()
    except state.CannotStart as cannot:
        os._exit(cannot.code)
    asyncio.run(serve(names))
    return 0


async def serve(names: list[str]) -> None:
    writer.start()
    events.start(asyncio.get_running_loop())
    await writer.write(lambda: first_rows(names))
    callers = [Caller(name, "agent", "a crash test") for name in names] + [Caller(OPERATOR, "operator", "a crash test")]
    servers = [
        await wire.listen(settings.HIVE_RUNTIME_DIR / f"{caller.name}.sock", doors._verbs(caller)) for caller in callers
    ]
    assert servers
    while True:
        await asyncio.to_thread(disk.look)
        if await asyncio.to_thread(Lease.any_over):
            await writer.write(Lease.expire)
        await asyncio.to_thread(tasks.vacuum_now)
        await asyncio.sleep(0.5)


def first_rows(names: list[str]) -> None:
    Age.count()
    for name in [*names, OPERATOR]:
        Mailbox.objects.get_or_create(name=name)


def restored(path: str) -> dict[str, Any]:
    """What a hive that begins with that backup finds."""
    restore(Path(path))
    state.open_database(settings.HIVE_STATE_DIR)
    return {
        "cids": list(Message.objects.order_by("id").values_list("cid", flat=True)),
        "claimed": sorted(Message.objects.filter(state="claimed").values_list("turn", flat=True)),
        "leases": sorted(Lease.objects.values_list("turn", flat=True)),
    }


# ---- who sends and receives -------------------------------------------------------------------------------------------


def send(socket: str, ledger: str, name: str, to: list[str]) -> None:
    """For ever; each message that was acknowledged is a line of its ledger. The first is the one that had no answer."""
    asyncio.run(sending(Client(socket, patience=None), Path(ledger), name, to))


async def sending(client: Client, ledger: Path, name: str, to: list[str]) -> None:
    number = len(ledger.read_text().splitlines()) if ledger.exists() else 0
    while True:
        cid, recipient = f"{name}-{number:06}", to[number % len(to)]
        try:
            queued = await client.call("send", to=recipient, body=f"{number:06}", cid=cid)
        except Refused as refusal:
            if refusal.word not in ("mailbox_full", "stopping"):
                raise
            await asyncio.sleep(0.2)
            continue
        note(ledger, f"{queued['id']} {recipient} {cid}")
        number += 1


def receive(socket: str, ledger: str, operator: bool = False) -> None:
    """For ever, as a harness does: a message of a turn is done (a line of its ledger), then the turn is acked."""
    asyncio.run(receiving(Client(socket, patience=None), Path(ledger), operator))


async def receiving(client: Client, ledger: Path, operator: bool) -> None:
    random.seed()  # a fork has its parent's
    diary, number = ledger.with_suffix(".turn"), 0
    if diary.exists():
        turn, number = diary.read_text().split()[0], int(diary.read_text().split()[1])
        if not operator and random.random() < 0.7:  # else its lease runs out
            await client.call("release", turn=row(turn, number), how="retry", reason="its harness was killed")
    while True:
        turn, number = uuid.uuid4().hex, number + 1
        state.write_new(diary, f"{turn} {number}")
        for message in (await client.call("recv", turn=turn, wait=5, lease=LEASE))["messages"]:
            note(ledger, f"{message['id']} {message['attempt']} {message['cid']}")
            await asyncio.sleep(random.uniform(0, 0.005))  # it lasts a moment until a turn has ended
            await client.call("ack", turn=turn if operator else row(turn, number))


def row(turn: str, number: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"id": turn, "number": number, "started_at": now, "ended_at": now, "outcome": "ok"}


def note(ledger: Path, line: str) -> None:
    """In one write, which a kill does not halve."""
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


ACTS: dict[str, Callable[..., Any]] = {"host": host, "send": send, "receive": receive, "restored": restored}
