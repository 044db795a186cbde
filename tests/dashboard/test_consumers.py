"""The live link: rows after the browser's cursor, once each and in order; parts when they change; no strangers."""

import asyncio
import itertools
import json
import re
from datetime import datetime

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from agents import feed, live
from agents.models import Agent, Event
from broker import events
from broker.models import Message
from dashboard import auth
from dashboard.consumers import PARTS, websockets

from .conftest import container

pytestmark = pytest.mark.django_db(transaction=True)
door = AuthMiddlewareStack(URLRouter(websockets))


@pytest.fixture
async def cookie(transactional_db):
    events.start(asyncio.get_running_loop())
    client = Client()
    await sync_to_async(lambda: client.force_login(auth.operator()))()
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def browser(path="/live", cookie="", origin="http://127.0.0.1:7000", host="127.0.0.1:7000"):
    headers = [(b"host", host.encode()), (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())]
    if origin:
        headers.append((b"origin", origin.encode()))
    return WebsocketCommunicator(door, path, headers)


async def opened(path="/live", cookie="", after=0):
    tab = browser(path, cookie)
    assert (await tab.connect())[0]
    await tab.send_json_to({"after": after})
    return tab


async def frame(tab, timeout=15):
    got = await tab.receive_json_from(timeout)
    await tab.send_json_to({"ack": got["n"]})
    return got


def shown(html):
    return [int(id_) for id_ in re.findall(r'id="event-(\d+)"', html)]


async def follow(tab, until):
    """Every event id that came, up to that one."""
    ids = []
    while not ids or ids[-1] < until:
        ids += shown((await frame(tab)).get("rows", ""))
    return ids


@sync_to_async
def write(count, agent="scout"):
    first = (Event.objects.filter(agent=agent).order_by("-seq").values_list("seq", flat=True).first() or 0) + 1
    rows = [
        Event(agent=agent, seq=seq, kind="log", payload={"text": f"line {seq}"}) for seq in range(first, first + count)
    ]
    created = Event.objects.bulk_create(rows)
    events.publish("events", f"events:{agent}")
    return [row.pk for row in created]


# ---- replay -----------------------------------------------------------------------------------------------------------


async def test_replay_is_exact_over_a_reconnect(cookie):
    ids = await write(250)
    tab = await opened(cookie=cookie, after=ids[9])
    assert await follow(tab, ids[-1]) == ids[10:]
    more = await write(3)
    assert await follow(tab, more[-1]) == more
    await tab.disconnect()
    missed = await write(5)
    tab = await opened(cookie=cookie, after=more[1])
    assert await follow(tab, missed[-1]) == [more[2], *missed]
    await tab.disconnect()


async def test_rows_that_come_while_it_sends_are_neither_lost_nor_doubled(cookie):
    tab = await opened(cookie=cookie)
    ids = []
    for _ in range(20):
        ids += await write(7)
        await asyncio.sleep(0.01)
    assert await follow(tab, ids[-1]) == ids
    await tab.disconnect()


async def test_two_tabs_get_the_same_rows(cookie):
    tabs = [await opened(cookie=cookie), await opened(cookie=cookie)]
    ids = await write(30)
    for tab in tabs:
        assert await follow(tab, ids[-1]) == ids
        await tab.disconnect()


async def test_who_is_far_behind_is_told_how_much_was_passed_over(cookie):
    ids = await write(740)
    tab = await opened(cookie=cookie)
    first = await frame(tab)
    assert first["skipped"] == 240
    assert shown(first["rows"]) + await follow(tab, ids[-1]) == ids[240:]
    await tab.disconnect()


async def test_an_agents_page_gets_its_own_events_alone(cookie):
    await sync_to_async(container)("scout")
    await write(3, "other")
    ids = await write(3, "scout")
    tab = await opened("/agents/scout/live", cookie)
    assert await follow(tab, ids[-1]) == ids
    await write(1, "other")
    assert await tab.receive_nothing(0.3)
    await tab.disconnect()


async def test_frames_keep_their_distance_however_much_comes(cookie):
    tab = await opened(cookie=cookie)
    sent = []
    for _ in range(60):
        await write(1)
        await asyncio.sleep(0.02)
    ids = []
    while len(ids) < 60:
        got = await frame(tab)
        sent.append(datetime.fromisoformat(got["at"]))
        ids += shown(got.get("rows", ""))
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(sent)]
    assert min(gaps) >= 0.9 * live.PACE
    await tab.disconnect()


# ---- parts ------------------------------------------------------------------------------------------------------------


async def test_a_part_comes_when_it_changes_and_only_then(cookie):
    await sync_to_async(container)("scout")
    tab = await opened(cookie=cookie)
    assert set((await frame(tab))["parts"]) == set(PARTS)
    assert await tab.receive_nothing(0.3)
    await sync_to_async(Message.send)("operator", "scout", "<b>hello</b>")
    parts = (await frame(tab))["parts"]
    assert set(parts) == {"vitals", "containers", "flow", "steps"}  # what comes first in a new hive is done
    assert "&lt;b&gt;hello" in parts["flow"]
    events.publish("messages", "approvals", "nothing that anybody knows")
    assert await tab.receive_nothing(0.3)
    await tab.disconnect()


async def test_an_agents_state_is_live(cookie):
    await sync_to_async(container)("scout")
    tab = await opened("/agents/scout/live", cookie)
    assert "idle" in (await frame(tab))["parts"]["hero"]
    agent = await Agent.objects.aget(name="scout")
    await sync_to_async(agent.says)("thinking")
    parts = (await frame(tab))["parts"]
    assert list(parts) == ["hero"]
    assert "thinking" in parts["hero"]
    await tab.disconnect()


async def test_a_part_is_rendered_once_for_all_tabs(cookie, monkeypatch):
    rendered = []
    plain = PARTS["flow"].render
    monkeypatch.setattr(PARTS["flow"], "render", lambda: rendered.append(1) or plain())
    tabs = [await opened(cookie=cookie) for _ in range(4)]
    for tab in tabs:
        assert "flow" in (await frame(tab))["parts"]
    assert len(rendered) == 1
    for tab in tabs:
        await tab.disconnect()
    assert PARTS["flow"].watchers == 0


async def test_silence_is_a_heartbeat(cookie, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT", 0.2)
    tab = await opened(cookie=cookie)
    await frame(tab)
    beat = await frame(tab)
    assert set(beat) == {"n", "at", "skipped"}
    await tab.disconnect()


# ---- slow and hostile readers -----------------------------------------------------------------------------------------


async def test_a_reader_that_does_not_read_is_not_sent_more_and_then_hung_up_on(cookie, monkeypatch):
    monkeypatch.setattr(live, "SLOW", 1.0)
    tab = await opened(cookie=cookie)
    for _ in range(10):
        await write(1)
        await asyncio.sleep(0.12)
    frames = []
    while (got := await tab.receive_output(3))["type"] == "websocket.send":
        frames.append(json.loads(got["text"]))
    assert len(frames) == live.WINDOW
    assert got["code"] == live.TOO_SLOW


async def test_a_slow_reader_gets_everything_in_the_end(cookie):
    tab = await opened(cookie=cookie)
    ids = []
    for _ in range(12):
        ids += await write(2)
        await asyncio.sleep(0.11)
    assert await follow(tab, ids[-1]) == ids
    await tab.disconnect()


@pytest.mark.parametrize(
    "said", ["{", "[]", "7", '{"after": -1}', '{"after": "1"}', '{"after": true}', '{"ack": 99}', "[" * 9999]
)
async def test_nonsense_is_passed_over(cookie, said):
    tab = browser(cookie=cookie)
    await tab.connect()
    await tab.send_to(text_data=said)
    assert await tab.receive_nothing(0.1)
    await tab.send_json_to({"after": 0})
    assert (await frame(tab))["n"] == 1
    await tab.disconnect()


# ---- strangers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8199", "127.0.0.1:7000"),
        ("http://evil.example", "127.0.0.1:7000"),
        ("http://evil.example", "evil.example"),
        ("http://127.0.0.1:7000.evil.example", "127.0.0.1:7000"),
        ("file://127.0.0.1:7000", "127.0.0.1:7000"),
        ("null", "127.0.0.1:7000"),
        ("http://[::1", "127.0.0.1:7000"),
        ("", "127.0.0.1:7000"),
        ("", ""),
    ],
)
async def test_a_page_of_another_origin_is_refused(cookie, origin, host):
    for path in ("/live", "/agents/scout/live"):
        assert not (await browser(path, cookie, origin, host).connect())[0]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:7000", "[::1]:7000", "hive.localhost"])
async def test_a_page_of_ours_may_come_in_on_every_port(cookie, host):
    tab = browser("/live", cookie, f"http://{host}", host)
    assert (await tab.connect())[0]
    await tab.disconnect()


async def closed(tab):
    while (got := await tab.receive_output(3))["type"] == "websocket.send":
        pass
    return got["code"]


@pytest.mark.parametrize("path", ["/live", "/agents/scout/live"])
async def test_who_is_not_signed_in_sees_nothing(cookie, path):
    tab = browser(path, "not-a-session")
    await tab.connect()
    assert await closed(tab) == live.SIGNED_OUT


async def test_signing_out_ends_what_is_live(cookie, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT", 0.2)
    tab = await opened(cookie=cookie)
    await frame(tab)
    await sync_to_async(lambda: auth.operator() and live.Session.objects.all().delete())()
    assert await closed(tab) == live.SIGNED_OUT


async def test_an_agent_that_nobody_knows_has_no_socket(cookie):
    tab = browser("/agents/nobody/live", cookie)
    await tab.connect()
    assert await closed(tab) == live.UNKNOWN


async def test_a_page_that_fails_says_so_instead_of_going_silent(cookie, monkeypatch):
    monkeypatch.setattr(feed.Feed, "after", lambda *_: 1 / 0)
    tab = await opened(cookie=cookie)
    assert await closed(tab) == live.FAILED
