"""An agent's pages without a browser: what can be taken away, the past, the acts, and what a page costs."""

import json
import re
import shutil

import pytest
from asgiref.sync import sync_to_async

from agents import parts
from agents.logins import CODES, Login
from agents.models import Agent, Event, Turn
from agents.parts import TABS
from approvals.models import Approval
from broker.models import Lease, Message
from dashboard import badges
from lifecycle import paths, repos

pytestmark = pytest.mark.django_db
AT = "2026-11-22T20:13:48Z"


@pytest.fixture
def log(agent):
    """Three turns of four events each."""
    for number in (1, 2, 3):
        Turn.objects.create(id=f"turn-{number}", agent="scout", number=number, started_at=AT, ended_at=AT, outcome="ok")
        for _ in range(4):
            event(f"line of turn {number}", f"turn-{number}")
    return agent


def event(text, turn=None, kind="log"):
    seq = Event.objects.count() + 1
    return Event.objects.create(agent="scout", seq=seq, turn=turn, kind=kind, at=AT, payload={"text": text})


async def streamed(client, address):
    response = await client.get(address)
    return b"".join([part async for part in response.streaming_content]).decode()


# ---- what can be taken away -------------------------------------------------------------------------------------------


@pytest.fixture
def taken(operator, async_client):
    async_client.cookies = operator.cookies
    return async_client


@pytest.mark.django_db(transaction=True)
async def test_events_as_ndjson_page_by_page_and_no_line_twice(taken, log, monkeypatch):
    monkeypatch.setattr("agents.views.PAGE", 5)
    lines = [json.loads(line) for line in (await streamed(taken, "/agents/scout/export")).splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, 13))
    some = await streamed(taken, f"/agents/scout/export?after={lines[3]['id']}&upto={lines[5]['id']}")
    assert [json.loads(line)["seq"] for line in some.splitlines()] == [5, 6]
    of_turn = await streamed(taken, "/agents/scout/export?turn=turn-2")
    assert [json.loads(line)["seq"] for line in of_turn.splitlines()] == [5, 6, 7, 8]


@pytest.mark.django_db(transaction=True)
async def test_events_as_text_are_clean(taken, agent):
    await sync_to_async(event)("hidden \x1b[31m\u202e")
    text = await streamed(taken, "/agents/scout/export?form=txt")
    assert "hidden \\x1b[31m\\u202e" in text


def test_a_form_that_there_is_not_is_not_found(operator, agent):
    assert operator.get("/agents/scout/export?form=exe").status_code == 404
    assert operator.get("/agents/nobody/export").status_code == 404


def test_no_event_can_end_its_block_of_a_transcript(operator, agent):
    Turn.objects.create(id="turn-1", agent="scout", number=1, started_at=AT, outcome="ok", error="odd")
    event("```\n# not a heading\n````\n", "turn-1")
    text = operator.get("/agents/scout/turns/1").content.decode()
    assert "`````\n```\n# not a heading\n````" in text
    assert operator.get("/agents/scout/turns/2").status_code == 404


# ---- the past ---------------------------------------------------------------------------------------------------------


def test_each_turn_has_one_head_also_where_the_page_begins_in_its_middle(operator, log):
    html = operator.get("/agents/scout/").content.decode()
    assert html.count('class="turnhead"') == 3
    middle = Event.objects.get(seq=7).pk
    html = operator.get(f"/agents/scout/?at={middle}").content.decode()
    assert html.count('class="turnhead"') == 3
    assert "data-live" not in html


@pytest.mark.parametrize("query", ["before=0", "before=-1", "before=x", "at=99999999999999999999", "before=²", "at="])
def test_a_number_that_is_none_is_passed_over(operator, log, query):
    for tab in ("", "turns"):
        response = operator.get(f"/agents/scout/{tab}?{query}")
        assert response.status_code == 200
        assert b"data-live" in response.content


def test_older_turns_have_an_address(operator, agent):
    for number in range(1, 36):
        Turn.objects.create(id=f"turn-{number:02}", agent="scout", number=number, started_at=AT, outcome="ok")
    html = operator.get("/agents/scout/turns").content.decode()
    assert 'href="?before=6"' in html
    html = operator.get("/agents/scout/turns?before=6").content.decode()
    assert "turn-5" in html
    assert 'id="turn-6"' not in html


@pytest.mark.parametrize("tab", TABS)
def test_a_page_costs_few_queries_however_much_there_is(operator, log, tab, django_assert_max_num_queries):
    for number in range(60):
        Message.send("operator", "scout", f"message {number}")
    with django_assert_max_num_queries(32):
        assert operator.get(f"/agents/scout/{'' if tab == 'live' else tab}").status_code == 200


# ---- acts -------------------------------------------------------------------------------------------------------------


def test_a_login_is_begun_finished_and_ended_from_the_page(operator, agent):
    CODES.clear()
    assert operator.post("/agents/scout/login/code", {"code": "a#b"}).status_code == 409
    assert operator.post("/agents/scout/login/start").status_code == 302
    Login.of("scout").says("waiting", 1, "https://claude.ai/oauth/authorize?z", "", None, "")
    html = operator.get("/agents/scout/login").content.decode()
    assert 'href="https://claude.ai/oauth/authorize?z"' in html
    assert '<svg class="qr"' in html
    assert operator.post("/agents/scout/login/code", {"code": "a#b"}).status_code == 302
    assert CODES == {"scout": "a#b"}
    assert "a#b" not in operator.get("/agents/scout/login").content.decode()
    assert operator.post("/agents/scout/login/cancel").status_code == 302
    assert operator.post("/agents/scout/login/logout").status_code == 302
    assert operator.post("/agents/scout/login/fly").status_code == 404
    assert operator.post("/agents/nobody/login/start").status_code == 404


def test_no_login_is_begun_where_nothing_runs(operator, agent):
    Agent.objects.update(state="offline")
    response = operator.post("/agents/scout/login/start")
    assert (response.status_code, b"does not run" in response.content) == (409, True)


def test_a_turn_is_interrupted(operator, agent):
    assert operator.post("/containers/scout/interrupt").status_code == 409
    Lease.hold("turn-1", "scout", 60)
    assert operator.post("/containers/scout/interrupt").status_code == 302
    assert Agent.objects.get(name="scout").interrupt == "turn-1"


def test_going_back_to_an_earlier_configuration_is_an_approval(operator, agent):
    applied = repos.Applied("scout")
    old = applied.commit({"agent.toml": b'model = "sonnet"\n'}, "one", "operator")
    applied.commit({"agent.toml": b'model = "opus"\n'}, "two", "operator")
    type(agent).objects.update(source='model = "opus"\n')
    html = operator.get(f"/agents/scout/config?rev={old}").content.decode()
    assert "go back to this" in html
    operator.post("/agents/scout/config/rollback", {"rev": old})
    row = Approval.objects.get(agent="scout")
    assert (row.content, row.decided_by, row.decided_from) == (
        'model = "sonnet"\n',
        "operator",
        "the dashboard at 127.0.0.1",
    )
    assert operator.post("/agents/scout/config/rollback", {"rev": "0" * 40}).status_code == 404


# ---- how much there is ------------------------------------------------------------------------------------------------


def shown_badges(html: str) -> dict[str, str]:
    return dict(re.findall(r'data-count="(inbox|notes|config|turns|login)">([^<]+)</span></a>', html))


@pytest.fixture
def place(agent):
    """Its /state, of which other tests see nothing."""
    place = paths.state_dir("scout")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    yield place
    shutil.rmtree(place)


def test_the_pages_say_how_much_there_is_on_each(operator, log, manager, place):
    assert shown_badges(operator.get("/agents/scout/").content.decode()) == {"turns": "3"}
    for name in ("a.md", "b.md"):
        (place / name).write_text("x")
    for number in range(4):
        Message.send("hm1nd", "scout", f"message {number}")
    Approval.request_spawn("hm1nd", "sonar", "more ears")
    Approval.objects.create(
        kind="apply_commit", agent="scout", why="x", sha256="0" * 64, requested_by="hm1nd", expires_at=AT
    )
    Agent.objects.filter(name="scout").update(state="login")
    wanted = {"inbox": "4", "notes": "2", "config": "1", "turns": "3", "login": "!"}
    for tab in TABS:
        html = operator.get(f"/agents/scout/{'' if tab == 'live' else tab}").content.decode()
        assert shown_badges(html) == wanted, tab
    live = parts.html("counts", "scout")
    assert all(f'data-{what}="{count}"' in live for what, count in wanted.items()), live
    assert 'data-pending="2"' in live


def test_notes_without_end_are_counted_to_an_end(place):
    for number in range(120):
        (place / f"{number}").mkdir()
    assert badges.notes("scout") == "99+"
    assert badges.notes("nobody") == 0
