"""A hive without agents: the pages over rows that a test writes, one JSON line on stdin per row."""

import asyncio
import hashlib
import json
import os
import sys
import threading
import traceback
from datetime import datetime

os.environ["DJANGO_SETTINGS_MODULE"] = "hyperhive.settings"

import django  # noqa: E402

django.setup()

from daphne.server import Server  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from agents.models import Agent, Event, Login, Turn  # noqa: E402
from approvals import intake  # noqa: E402
from approvals.models import Approval  # noqa: E402
from broker import events  # noqa: E402
from broker.models import Job, Mailbox, Message  # noqa: E402
from dashboard import auth, indexing  # noqa: E402
from hyperhive.asgi import application  # noqa: E402
from lifecycle import paths, repos, vitals  # noqa: E402
from lifecycle.models import Container  # noqa: E402


def agent(name, role="agent", state="idle", **fields):
    Mailbox.objects.get_or_create(name=name, defaults={"role": role})
    Agent.objects.create(name=name, state=state, seen_at="2026-11-22T20:00:00Z")
    row = {"driver": "process", "uid": 40000 + Container.objects.count(), "status": "running"} | fields
    Container.objects.create(name=name, role=role, **row)


def event(agent, kind, payload, turn=None):
    row = Agent.objects.get(name=agent)
    at = "2026-11-22T20:14:02Z"
    Event.take_over(row, [{"seq": row.seq + 1, "turn": turn, "at": at, "kind": kind, "payload": payload}])


def lines(agent, count, size):
    """Many log lines at once; the newest number."""
    row = Agent.objects.get(name=agent)
    at, text = datetime.fromisoformat("2026-11-22T20:14:02Z"), "x" * size
    numbers = range(row.seq + 1, row.seq + 1 + count)
    payloads = [{"text": f"line {number}\n{text}"} for number in numbers]
    new = [
        {"seq": n, "turn": None, "at": at, "kind": "log", "payload": p} for n, p in zip(numbers, payloads, strict=True)
    ]
    Event.take_over(row, new)
    return Event.objects.order_by("-pk").values_list("pk", flat=True)[0]


def session():
    """The cookie of an operator who is signed in."""
    client = Client()
    client.force_login(auth.operator())
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def read(to):
    Message.claim(to, f"turn-{to}", f"turn-{to}", 60)
    Message.ack(to, f"turn-{to}")
    events.publish_on_commit("messages")


def many(agent, texts):
    row = Agent.objects.get(name=agent)
    at = "2026-11-22T20:14:02Z"
    rows = [{"turn": None, "at": at, "kind": "log", "payload": {"text": text}} for text in texts]
    Event.take_over(row, [{"seq": row.seq + n, **one} for n, one in enumerate(rows, 1)])


def claim(to):
    Message.send("operator", to, "x")
    Message.claim(to, f"turn-{to}", f"turn-{to}", 60)


def dead(message, reason="the turn ran past its deadline"):
    Message.objects.filter(pk=message).update(state="dead", reason=reason[:300])
    events.publish_on_commit("messages")


def output(name, text):
    paths.run_dir(name).mkdir(parents=True, exist_ok=True)
    (paths.run_dir(name) / "log").write_text(text)


def note(name, path, text):
    place = paths.state_dir(name) / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def link(name, path, target):
    (paths.state_dir(name) / path).symlink_to(target)


def applied(name, text):
    repos.Applied(name).commit({"agent.toml": text.encode()}, "Approval #1", "operator")
    Container.objects.filter(name=name).update(source=text)


def change(name, content, why="to learn"):
    """A configuration that is asked for."""
    row, sha = Container.named(name), hashlib.sha1(content.encode()).hexdigest()
    found = intake.Proposal(content, sha, row.source, hashlib.sha256(row.source.encode()).hexdigest(), row.incarnation)
    return Approval._request(kind="apply_commit", agent=name, why=why, requested_by="hm1nd", **found._asdict()).pk


def carried_out(id, state):
    Approval.objects.filter(pk=id).update(state=state, decided_by="operator", decided_at=timezone.now())
    events.publish_on_commit("approvals")


def login(name, state, takes=None, link="", words="", logged_in=None, account=""):
    row = Login.of(name)
    row.says(state, row.number if takes is None else takes, link, words, logged_in, account)


def wish(name):
    return Login.of(name).next()


def begin_login(name):
    Login.of(name).begin()


def samples(name):
    ring = vitals.RINGS[name]
    for n in range(60):
        ring.append(vitals.Sample(1e9 + 10 * n, 3 * n + n % 7, 10**8 + n % 9 * 10**7, 4096 * n, 12))


def turn(agent, **row):
    times = {name: datetime.fromisoformat(row[name]) for name in ("started_at", "ended_at") if row.get(name)}
    Turn.record(agent, row | times)


VERBS = {
    "agent": agent,
    "event": event,
    "lines": lines,
    "session": session,
    "events": many,
    "read": read,
    "dead": dead,
    "mailbox": lambda name: Mailbox.objects.create(name=name, role=name),
    "turn": turn,
    "output": output,
    "note": note,
    "link": link,
    "applied": applied,
    "change": change,
    "carried_out": carried_out,
    "login": login,
    "begin_login": begin_login,
    "wish": wish,
    "samples": samples,
    "send": lambda sender, to, body: Message.send(sender, to, body).pk,
    "ask": lambda name, why: Approval.request_spawn("hm1nd", name, why).pk,
    "deny": lambda id: Approval.numbered(id).deny("operator", "the command line"),
    "state": lambda name, state, why="": Agent.objects.get(name=name).says(state, why),
    "claim": claim,
    "interrupted": lambda name: Agent.objects.get(name=name).interrupt,
    "approvals": lambda: [row.as_json() for row in Approval.objects.all()],
    "approval": lambda id: Approval.numbered(id).as_json(),
    "messages": lambda: [message.as_json() for message in Message.objects.all()],
    "op": lambda name: Container.named(name).op,
    "mint": lambda **how: auth.mint(**how)[0],
    "destroy": lambda name: Container.named(name).destroy(),
    "wake": lambda topic: events.publish_on_commit(topic),
    "index": indexing.all_of_it,
    "job": lambda name, **row: Job.objects.create(name=name, **row).pk,
    "paused": lambda: list(Container.objects.filter(paused=True).values_list("name", flat=True)),
}


def obey() -> None:
    """Until the test is gone, or until a line fails: either way the server ends with it."""
    try:
        for line in sys.stdin:
            verb, params = json.loads(line)
            with transaction.atomic():
                result = VERBS[verb](**params)
            print(json.dumps(result, default=str), flush=True)
    except Exception:
        traceback.print_exc()
    os._exit(0)


def ready() -> None:
    events.start(asyncio.get_event_loop())
    threading.Thread(target=obey, daemon=True).start()
    print('"ready"', flush=True)


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    endpoint = f"tcp:port={os.environ['HIVE_BIND'].rpartition(':')[2]}:interface=127.0.0.1"
    Server(application, endpoints=[endpoint], ready_callable=ready, signal_handlers=False).run()
