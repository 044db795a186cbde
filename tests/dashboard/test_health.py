"""What machines are told: whether the hive is well, and figures that cost the same at any size."""

import re
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from agents.models import STATES, Agent
from broker.models import Message
from dashboard import health
from dashboard.models import Notice

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()


@pytest.fixture
def token(settings, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text("s3cret\n")
    settings.HIVE_METRICS_TOKEN_FILE = str(tmp_path / "token")
    return {"HTTP_AUTHORIZATION": "Bearer s3cret"}


def figures(text: str) -> dict[str, float]:
    """Each sample; AssertionError for a line that Prometheus would not read."""
    found, announced = {}, set()
    for line in text.splitlines():
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP \w+ .+|TYPE \w+ (gauge|counter))", line), line
            announced.add(line.split()[2])
            continue
        match = re.fullmatch(r'(\w+)(\{\w+="[^"\\]*"(,\w+="[^"\\]*")*\})? (-?[\d.]+(e[+-]?\d+)?)', line)
        assert match, line
        assert match[1] in announced
        found[match[1] + (match[2] or "")] = float(match[4])
    return found


# ---- /healthz


def test_a_hive_that_is_well_says_so(client, agent) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"ok": True, "degraded": []})


def test_what_a_person_should_look_at_is_said_without_names(client, agent, settings, monkeypatch) -> None:
    Agent.objects.get(name="scout").says("failing", "it crashed")
    settings.HIVE_NOTIFY_URL = "http://127.0.0.1:1/"
    Notice.objects.create(key="approval-1", target="webhook", error="it answered HTTP 500")
    monkeypatch.setattr(health, "disk_free", lambda: 1)
    response = client.get("/healthz")
    assert response.json() == {"ok": True, "degraded": ["agents_failing", "disk_low", "notifications_failing"]}
    assert b"scout" not in response.content
    cache.clear()
    Agent.objects.get(name="scout").says("login")
    assert client.get("/healthz").json()["degraded"][0] == "login_needed"


def test_a_database_that_cannot_be_read_is_no_health(client, monkeypatch) -> None:
    def broken():
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr(health, "degraded", broken)
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (503, {"ok": False, "degraded": ["database"]})


def test_asking_often_costs_nothing(client, agent) -> None:
    client.get("/healthz")
    with CaptureQueriesContext(connection) as asked:
        client.get("/healthz")
    assert len(asked) == 0


# ---- /metrics


def test_without_a_token_file_there_are_no_metrics(client, operator, settings) -> None:
    settings.HIVE_METRICS_TOKEN_FILE = ""
    assert client.get("/metrics").status_code == 404
    settings.HIVE_METRICS_TOKEN_FILE = "/nonexistent"
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer ").status_code == 404


@pytest.mark.parametrize("said", ["", "Bearer ", "Bearer wrong", "s3cret", "Basic s3cret", "Bearer s3crét"])
def test_only_the_token_opens_them(client, operator, token, said) -> None:
    response = operator.get("/metrics", **({"HTTP_AUTHORIZATION": said} if said else {}))
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")


def test_the_figures_are_right(client, agent, approval, token) -> None:
    Message.send("hm1nd", "scout", "one")
    Message.send("scout", "operator", "two")
    dead = Message.send("hm1nd", "scout", "three")
    Message.objects.filter(pk=dead.pk).update(state="dead")
    Agent.objects.get(name="scout").says("thinking")
    response = client.get("/metrics", **token)
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    found = figures(response.content.decode())
    names = {name.partition("{")[0].removeprefix("hive_") for name in found}
    assert names == set(health.METRICS)
    assert {state: found[f'hive_agents{{state="{state}"}}'] for state in STATES if state in ("thinking", "idle")} == {
        "thinking": 1,
        "idle": 1,
    }
    expected = {
        "messages_total": dead.pk,
        "messages_waiting": 1,
        "messages_unread": 1,
        "messages_dead": 1,
        "approvals_pending": 1,
    }
    assert {name: found[f"hive_{name}"] for name in expected} == expected
    assert found["hive_memory_bytes"] > 10 * 2**20
    assert found["hive_disk_free_bytes"] > 0


def test_no_figure_walks_through_a_table(client, agent, approval, token) -> None:
    """Messages, events and turns are reached by a number or an index (sqlite.org/eqp.html)."""
    Message.objects.bulk_create(
        Message(cid=f"m{n}", sender="hm1nd", recipient="scout", chain="c", body="x", state="delivered")
        for n in range(50)
    )
    with CaptureQueriesContext(connection) as asked:
        client.get("/metrics", **token)
    large = [one["sql"] for one in asked if re.search("broker_message|agents_event|agents_turn", one["sql"])]
    assert len(large) > 5
    with connection.cursor() as cursor:
        for sql in large:
            plan = [row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
            scans = [step for step in plan if step.startswith("SCAN") and "USING" not in step]
            # MAX() of the key is one look at the end of the table.
            assert not scans or "MAX(" in sql, (sql, plan)
            partial = ("message_queued", "message_dead")
            assert all(
                any(index in step for index in partial) for step in plan if step.startswith("SCAN") and "USING" in step
            )
