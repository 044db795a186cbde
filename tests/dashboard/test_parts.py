"""What the dashboard is made of: how much it asks of the database, and what it says of a new, a busy and a filtered hive."""

import re
import shutil
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Agent, Event, Turn
from approvals.models import Approval
from broker.models import Job, Mailbox, Message
from dashboard import indexing, parts
from lifecycle import repos
from lifecycle.models import Container

from .conftest import container

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


# ---- narrowed and ordered by the address ------------------------------------------------------------------------------


def rows(operator, query: str) -> list[str]:
    return re.findall(r'<tr id="agent-(\S+)" data-state="\w+">', operator.get(f"/{query}").content.decode())


def test_the_address_orders_the_containers(operator, manager):
    for name, state, port in (("alpha", "idle", 8300), ("beta", "login", 8200), ("gamma", "thinking", 8100)):
        container(name, port=port)
        Agent.objects.filter(name=name).update(state=state)
    for name, count in (("gamma", 12), ("beta", 3)):
        for number in range(count):
            Message.send("hm1nd", name, f"message {number}")
    assert rows(operator, "") == ["hm1nd", "alpha", "beta", "gamma"]
    assert rows(operator, "?sort=agent") == ["alpha", "beta", "gamma", "hm1nd"]
    assert rows(operator, "?sort=-agent") == ["hm1nd", "gamma", "beta", "alpha"]
    assert rows(operator, "?sort=state") == ["beta", "gamma", "hm1nd", "alpha"]
    assert rows(operator, "?sort=-inbox") == ["gamma", "beta", "hm1nd", "alpha"]
    assert rows(operator, "?sort=web&q=a") == ["gamma", "beta", "alpha"]
    assert rows(operator, "?sort=<b>") == rows(operator, "?sort=uid") == rows(operator, "")
    html = operator.get("/?sort=-inbox&q=a&mail=dead&x=<b>").content.decode()
    assert '<th scope="col" aria-sort="descending"><a href="?q=a&amp;sort=inbox&amp;mail=dead#containers"' in html
    assert html.count('aria-sort="none"') == 4
    assert 'href="?q=a&amp;mail=dead#containers"' in operator.get("/?sort=inbox&q=a&mail=dead").content.decode()


def test_the_address_narrows_the_messages(operator, agent, manager):
    Message.send("hm1nd", "scout", "first")
    Message.send("scout", "hm1nd", "second")
    dead = Message.send("operator", "scout", "third")
    Message.objects.filter(pk=dead.pk).update(state="dead")

    def shown(query: str) -> list[str]:
        html = operator.get(f"/{query}").content.decode()
        return re.findall(r'<li id="message-\d+" data-mail="\w+" data-from="(\w+)" data-to="\w+">', html)

    assert shown("") == ["operator", "scout", "hm1nd"]
    assert shown("?mail=queued") == ["scout", "hm1nd"]
    assert shown("?from=hm1nd") == ["hm1nd"]
    assert shown("?to=scout&mail=dead") == ["operator"]
    assert shown("?to=operator") == []
    assert shown("?mail=<b>&from=<i>") == shown("")
    html = operator.get("/?to=gone&state=idle").content.decode()
    assert "<option selected>gone</option>" in html
    assert '<div class="empty" id="mail-none"><b>none of the newest' in html
    assert 'href="?state=idle#messages" data-clear' in html
    assert [(word, count) for _, word, count in parts.mail_chips(parts.flow(parts.Now())["flow"])] == [
        ("waits", 2), ("in a turn", 0), ("read", 0), ("dead", 1),
    ]  # fmt: skip


# ---- which configuration runs -----------------------------------------------------------------------------------------


def test_a_container_says_which_commit_it_runs_and_what_is_newer(operator, agent, manager):
    def column(name: str = "scout") -> str:
        cell = re.search(
            rf'id="agent-{name}".*?<td data-l="config"[^>]*>(.*?)</td>', parts.html("containers"), re.DOTALL
        )
        return " ".join(re.sub("<[^>]+>", " ", cell[1]).split())

    applied, old, new = repos.Applied("scout"), 'model = "sonnet"\n', 'model = "opus"\n'
    shutil.rmtree(applied.place, ignore_errors=True)
    assert column() == "–"
    rev = applied.commit({"agent.toml": old.encode()}, "one", "operator")
    Container.objects.filter(name="scout").update(source=old)
    assert column() == f"{rev[:7]} , what scout runs"
    row = Approval._request(
        kind="apply_commit", agent="scout", incarnation=agent.incarnation, why="x", requested_by="hm1nd", content=new
    )
    assert column().endswith(f"↑ #{row.pk} waits")
    # Approved it is committed first, and runs once the agent is idle.
    Approval.objects.update(state="applying", decided_at=timezone.now())
    newer = applied.commit({"agent.toml": new.encode()}, "two", "operator")
    assert column() == f"{rev[:7]} , what scout runs ↑ #{row.pk} on its way"
    Container.objects.filter(name="scout").update(source=new)
    assert column().startswith(newer[:7])
    Approval.objects.update(state="applied")
    assert column() == f"{newer[:7]} , what scout runs"
    # What an earlier agent of that name was to be has nothing to do with this one.
    Approval.objects.update(state="pending", decided_at=None, incarnation="another")
    assert column() == f"{newer[:7]} , what scout runs"
    (applied.place / "refs/heads/main").write_text("<b>")
    assert column() == "–"
