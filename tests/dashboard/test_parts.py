"""What the dashboard is made of: how much it asks of the database, and what it says of a new, a busy and a filtered hive."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Agent, Event, Turn
from approvals.models import Approval
from broker.models import Job, Mailbox, Message
from dashboard import indexing, parts
from lifecycle.models import Container

pytestmark = pytest.mark.django_db
QUERIES = 12


def crowd(agents: int = 20, requests: int = 10, messages: int = 200) -> None:
    """A hive in which much goes on, written at once."""
    names = [f"agent-{number}" for number in range(agents)]
    Mailbox.objects.bulk_create(Mailbox(name=name) for name in [*names, "operator"])
    Agent.objects.bulk_create(Agent(name=name, state="idle", seen_at=timezone.now()) for name in names)
    Container.objects.bulk_create(
        Container(name=name, driver="process", uid=50_000 + n, status="running") for n, name in enumerate(names)
    )
    for number in range(requests):
        before, content = 'model = "opus"\n' * 5, 'model = "opus"\n' * 4 + f'prompt = "{number}"\n'
        Approval.objects.create(
            kind="apply_commit", agent=names[number % agents], why="to learn", requested_by="hm1nd", before=before,
            content=content, sha256=f"{number:064}", sha="c" * 40, expires_at=timezone.now() + timedelta(days=1),
        )  # fmt: skip
    states = ("queued", "claimed", "delivered", "delivered", "dead")
    Message.objects.bulk_create(
        Message(
            sender=names[n % agents], recipient=[*names, "operator"][n % (agents + 1)], body=f"word {n}", cid=str(n),
            chain=str(n), state=states[n % 5], delivered_at=timezone.now(),
        )
        for n in range(messages)
    )  # fmt: skip
    Event.objects.bulk_create(
        Event(agent=names[n % agents], seq=n, kind="log", payload={"text": f"line {n}"}) for n in range(100)
    )
    Turn.objects.create(id="t", agent=names[0], number=1, started_at=timezone.now(), outcome="ok")
    Job.objects.create(name="vacuum", period=3600)


def test_the_dashboard_asks_little_of_the_database_however_much_there_is(operator):
    crowd()
    operator.get("/", SERVER_PORT="7000")
    with CaptureQueriesContext(connection) as asked:
        assert operator.get("/", SERVER_PORT="7000").status_code == 200
    statements = [query["sql"] for query in asked]
    assert len(statements) <= QUERIES, "\n".join(statements)


def test_no_statement_of_the_dashboard_walks_through_the_messages(operator):
    """Every access to them is by a number or by an index of those under way (sqlite.org/eqp.html)."""
    crowd()
    with CaptureQueriesContext(connection) as asked:
        operator.get("/", SERVER_PORT="7000")
    about_messages = [query["sql"] for query in asked if "broker_message" in query["sql"]]
    assert len(about_messages) == 2
    with connection.cursor() as cursor:
        plans = [row[3] for sql in about_messages for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
    scans = [plan for plan in plans if plan.startswith("SCAN broker_message")]
    # The newest by number, which ends after 70 rows, and what is queued or dead, in indexes that hold nothing else.
    allowed = re.compile(r"SCAN broker_message( USING (COVERING )?INDEX (message_queued|message_dead))?$")
    assert scans
    assert [plan for plan in scans if not allowed.match(plan)] == []
    assert sum(plan == "SCAN broker_message" for plan in scans) == 1, plans
    # The highest number, which is at the end; the lowest of what is queued has to come from its index.
    assert sum(plan == "SEARCH broker_message" for plan in plans) == 1, plans


def test_vitals_count_what_waits_and_since_when(operator, agent, manager):
    old = Message.send("hm1nd", "scout", "first")
    Message.objects.filter(pk=old.pk).update(created_at="2026-11-22T20:00:00Z")
    Message.send("hm1nd", "scout", "second")
    Message.send("scout", "operator", "for you")
    rows = parts.vitals(parts.Now())
    assert (rows["waiting"]["count"], rows["unread_count"]) == (2, 1)
    assert rows["waiting"]["oldest"].isoformat() == "2026-11-22T20:00:00+00:00"
    assert rows["agents"] == {"all": 2, "up": 2, "thinking": 0}


def test_messages_a_minute_are_a_line_of_the_last_hour(agent):
    now = timezone.now().replace(second=0, microsecond=0)
    indexing.Minute.objects.create(at=now - timedelta(minutes=1), messages=6)
    indexing.Minute.objects.create(at=now - timedelta(minutes=10), messages=12)
    indexing.Minute.objects.create(at=now - timedelta(hours=3), messages=99)
    line = parts.spark([count for _, count in indexing.a_minute()])
    assert (line["now"], line["highest"]) == (6, 12)
    assert line["points"].startswith("0.0,23.0 ")
    assert line["points"].endswith(" 100.0,12.5")


def test_a_new_hive_says_what_comes_next_until_all_is_done(operator, manager):
    def done() -> int:
        return operator.get("/").content.decode().count("ok-step")

    Container.objects.update(status="creating")
    assert done() == 1
    Container.objects.update(status="running")
    Agent.objects.update(state="login")
    assert done() == 2
    assert "hive login hm1nd" in operator.get("/").content.decode()
    Agent.objects.update(state="idle")
    assert done() == 3
    Message.send("operator", "hm1nd", "hello")
    assert done() == 0


def test_the_address_filters_the_containers(operator, agent, manager):
    Agent.objects.filter(name="scout").update(state="thinking")

    def shown(query: str) -> list[str]:
        return re.findall(r'<tr id="agent-(\S+)" data-state="\w+">', operator.get(f"/{query}").content.decode())

    assert shown("") == ["hm1nd", "scout"]
    assert shown("?state=thinking") == ["scout"]
    assert shown("?q=M1N") == ["hm1nd"]
    assert shown("?state=thinking&q=hm") == []
    assert "no agent fits the filter" in operator.get("/?state=failing").content.decode()
    assert shown("?state=<b>") == ["hm1nd", "scout"]
    chips = dict(parts.chips(parts.Now()))
    assert (chips["thinking"], chips["idle"], chips["failing"]) == (1, 1, 0)


def test_jobs_show_when_they_ran_and_what_came_of_it(operator, db):
    now = timezone.now()
    Job.objects.create(name="vacuum", period=3600, started_at=now, ended_at=now, ok=True, result="31 messages removed")
    Job.objects.create(name="backup", period=86400, started_at=now, ended_at=now, ok=False, result="<b>disk full")
    Job.objects.create(name="auto-update", period=600, started_at=now)
    html = operator.get("/").content.decode()
    for words in ("31 messages removed", "failed: &lt;b&gt;disk full", "every hour", "every day", "every 10 m"):
        assert words in html
    assert len(re.findall("begun <time", html)) == 1


# ---- what an agent wrote, in full -------------------------------------------------------------------------------------


def test_a_message_is_set_as_markdown_and_nothing_of_it_is_html(operator, agent):
    body = "# Title\n\n<b>x</b> [no](javascript:alert(1)) [in](/ask/scout/kill) [out](https://example.org/)\n![p](http://e/x.png)\n\u202e"
    row = Message.send("hm1nd", "scout", body)
    html = operator.get(f"/messages/{row.pk}", HTTP_HX_REQUEST="true").content.decode()
    assert "<h1>Title</h1>" in html
    assert '<a rel="noopener noreferrer nofollow" target="_blank" href="https://example.org/">out</a>' in html
    for words in ("<b>", "<img", 'href="javascript', 'href="/ask', "\u202e"):
        assert words not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert operator.get("/messages/99").status_code == 404


def test_the_history_of_decisions_turns_its_pages(operator, manager):
    for number in range(60):
        approval = Approval.request_spawn("hm1nd", f"sonar-{number}", "more ears")
        approval.deny("operator", "the command line", f"reason {number}")
    first = operator.get("/approvals").content.decode()
    assert len(re.findall("<article", first)) == 50
    more = re.search(r'href="\?before=(\d+)"', first)[1]
    second = operator.get(f"/approvals?before={more}").content.decode()
    assert len(re.findall("<article", second)) == 10
    assert operator.get("/approvals?before=x").status_code == 200
