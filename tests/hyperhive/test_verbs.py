"""Who may say what: every verb on every socket, and params that do not fit."""

import asyncio
import contextlib
import inspect
import json
import os
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from agents.models import Agent, Event, Turn
from approvals.models import Approval
from broker import events, wire
from broker.models import Lease, Mailbox, Message
from broker.wire import Client, Refused, ask
from dashboard import indexing
from hyperhive import doors, tools
from hyperhive.caller import Caller, writer
from hyperhive.verbs import VERBS
from lifecycle import repos, steps
from lifecycle.models import Container
from lifecycle.repos import Blob

pytestmark = pytest.mark.django_db(transaction=True)

ONLY_OPERATOR = {
    "list", "status", "spawn", "stop", "rebuild", "destroy", "pause", "resume", "interrupt", "approvals", "show", "approve",
    "deny", "messages", "turns", "logs", "requeue", "link", "vacuum", "backup", "about", "rebuild_many", "history", "rollback",
    "login", "login_state", "login_code", "login_cancel", "logout",
    "users", "user_add", "user_remove", "mute", "notify", "doctor", "panic", "panic_over", "search",
    "audit",
}  # fmt: skip
ONLY_MANAGER = {"request_spawn", "request_apply_commit", "list_agents"}


@pytest.fixture
async def sockets() -> AsyncIterator[dict[str, Path]]:
    """The three kinds of socket over the tests' database; hm1nd, scout and forge have rows."""
    writer.start()
    events.start(asyncio.get_running_loop())
    await writer.write(_rows)
    root = Path(tempfile.mkdtemp(prefix="hv-", dir="/tmp"))
    callers = {
        "operator": Caller("operator", "operator", "a test"),
        "hm1nd": Caller("hm1nd", "manager", "a test"),
        "scout": Caller("scout", "agent", "a test"),
        "forge": Caller("forge", "agent", "a test"),
    }
    servers = [
        await wire.listen(root / name, doors._verbs(caller), session=partial(tools.session, caller))
        for name, caller in callers.items()
    ]
    yield {name: root / name for name in callers}
    for server in servers:
        server.close()
    writer.stop()


def _rows() -> None:
    for name, role in (("operator", "operator"), ("hive", "hive")):
        Mailbox.objects.create(name=name, role=role, open=name == "operator")
    Container.ensure_manager()
    for name in ("scout", "forge"):
        Container.spawn(name)


def turn_row(id_: str, **columns: Any) -> dict[str, Any]:
    return {"id": id_, "number": 1, "started_at": timezone.now().isoformat(), "outcome": "ok", **columns}


async def test_a_panic_holds_what_the_turns_are_at_and_is_over_once(sockets: dict[str, Path]) -> None:
    await ask(sockets["operator"], "send", to="scout", body="work")
    await ask(sockets["scout"], "recv", turn="turn-00001")
    wishes = {"interrupt": True, "keep": True, "paused": True}
    assert (await ask(sockets["operator"], "panic"))["ended"] == ["scout"]
    assert await ask(sockets["scout"], "renew", turn="turn-00001", wait=5) == wishes
    await ask(sockets["operator"], "interrupt", name="scout")
    assert await ask(sockets["scout"], "renew", turn="turn-00001", wait=5) == wishes | {"keep": False}
    resumed = await ask(sockets["operator"], "panic_over")
    assert sorted(resumed["resumed"]) == ["forge", "hm1nd", "scout"]
    with pytest.raises(Refused) as refused:
        await ask(sockets["operator"], "panic_over")
    assert word(refused) == "no_panic"


async def test_no_turn_begins_beyond_the_daily_budget(sockets: dict[str, Path], settings: Any) -> None:
    settings.HIVE_DAILY_BUDGET_USD = 1.0
    host, scout = sockets["operator"], sockets["scout"]
    for text in ("first", "second"):
        await ask(host, "send", to="scout", body=text)
    assert (await ask(scout, "recv", turn="turn-00001"))["messages"]
    await ask(scout, "ack", turn=turn_row("turn-00001", cost_usd=1.5))
    assert (await ask(scout, "recv", turn="turn-00002"))["messages"] == []
    waiting = asyncio.create_task(ask(scout, "recv", turn="turn-00002", wait=20))
    await asyncio.sleep(0.2)
    await ask(host, "resume", name="scout")
    async with asyncio.timeout(5):
        [message] = (await waiting)["messages"]
    assert message["body"] == "second"


async def said(socket: Path, verb: str, **params: Any) -> None:
    """Whether it is refused is not the question."""
    with contextlib.suppress(Refused):
        await ask(socket, verb, **params)


async def test_what_the_operator_does_is_noted_with_the_user_it_came_from(sockets: dict[str, Path]) -> None:
    host = sockets["operator"]
    await ask(host, "spawn", name="sonar")
    await ask(host, "pause", name="scout")
    await ask(host, "destroy", name="forge", purge=True)
    await ask(host, "user_add", name="anna", role="viewer")
    await ask(host, "mute", hours=1)
    await said(host, "interrupt", name="scout")
    await said(host, "stop", name="nobody")
    acts = (await ask(host, "audit"))["acts"]
    assert [(act["verb"], act["target"]) for act in acts] == [
        ("spawn", "sonar"), ("pause", "scout"), ("purge", "forge"), ("user add", "anna"), ("mute", ""),
    ]  # fmt: skip
    assert {(act["by"], act["where"]) for act in acts} == {("operator", f"a test, uid {os.geteuid()}")}
    assert [act["verb"] for act in (await ask(host, "audit", target="scout"))["acts"]] == ["pause"]
    assert [act["verb"] for act in (await ask(host, "audit", before=acts[2]["id"], limit=1))["acts"]] == ["pause"]


def test_every_verb_of_the_operator_that_changes_something_is_noted() -> None:
    """In its own code, so that a new one is not forgotten; those here only read, or are messages, which are kept themselves."""
    silent = {"send", "recv", "ack", "users", "list", "why"}
    for name, verb in VERBS["operator"].items():
        if verb.lane != "read" and name not in silent:
            source = inspect.getsource(verb.function)
            assert re.search(r"note\(|did\(|wished\(|rolled_back", source), name


async def test_a_search_is_the_pages(sockets: dict[str, Path]) -> None:
    host = sockets["operator"]
    sent = (await ask(host, "send", to="scout", body="read the paper"))["id"]
    await ask(sockets["scout"], "events", rows=[event_row(1, text="a paper")], turns=[])
    await writer.write(indexing.prepare)
    await writer.write(indexing.some)
    found = await ask(host, "search", query="paper")
    assert [(hit["kind"], hit["text"]) for hit in found["hits"]] == [
        ("messages", "read the paper"),
        ("events", "a paper"),
    ]
    assert (found["hits"][0]["page"], found["events"]["on"], found["behind"]) == (f"/messages/{sent}", 0, False)
    assert (await ask(host, "search", query="to:scout"))["events"] is None
    for wrong in ("-paper", "before:soon", ""):
        with pytest.raises(Refused) as refused:
            await ask(host, "search", query=wrong)
        assert word(refused) == "no_query"


def word(refused: pytest.ExceptionInfo[Refused]) -> str:
    return refused.value.word


def test_the_table_gives_each_role_its_own_verbs() -> None:
    assert set(VERBS["manager"]) - set(VERBS["agent"]) == ONLY_MANAGER | {"kill", "start", "restart"}
    assert set(VERBS["agent"]) == {
        "send", "recv", "ack", "release", "renew", "events", "hello", "why", "login_wish", "login_says",
    }  # fmt: skip


async def test_no_agent_can_say_what_only_others_may(sockets: dict[str, Path]) -> None:
    for socket, forbidden in (
        ("scout", ONLY_OPERATOR | ONLY_MANAGER | {"kill", "start", "restart"}),
        ("hm1nd", ONLY_OPERATOR),
    ):
        for verb in sorted(forbidden):
            with pytest.raises(Refused) as refused:
                await ask(sockets[socket], verb)
            assert refused.value.kind == "unknown_verb", f"{socket} may say {verb}"


async def test_a_sender_is_who_the_socket_says(sockets: dict[str, Path]) -> None:
    for spoof in ("sender", "from", "caller"):
        with pytest.raises(Refused) as refused:
            await ask(sockets["scout"], "send", to="hm1nd", body="hi", **{spoof: "operator"})
        assert refused.value.kind == "bad_params"
    sent = await ask(sockets["scout"], "send", to="hm1nd", body="hi")
    assert sent["sender"] == "scout"


async def test_a_message_goes_from_one_socket_to_the_other(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    polling = asyncio.create_task(ask(sockets["scout"], "recv", turn=turn, wait=10))
    await asyncio.sleep(0.2)
    await ask(sockets["hm1nd"], "send", to="scout", body="look", cid="cid-00001")
    [message] = (await asyncio.wait_for(polling, 5))["messages"]
    assert (message["sender"], message["sender_role"], message["attempt"]) == ("hm1nd", "manager", 1)
    assert await ask(sockets["scout"], "ack", turn=turn_row(turn)) == {"acked": 1}
    assert (await asyncio.to_thread(Message.objects.get, pk=message["id"])).state == "delivered"


async def test_a_login_goes_from_the_operator_to_the_harness_and_back(sockets: dict[str, Path]) -> None:
    scout, operator = sockets["scout"], sockets["operator"]
    with pytest.raises(Refused) as refused:
        await ask(operator, "login", name="scout")
    assert word(refused) == "not_running"
    await writer.write(lambda: Container.objects.update(status="running", op=""))
    await ask(scout, "hello", harness="harness-1", cli_version="2.1.330", seq=0)
    await writer.write(lambda: Agent.objects.get(name="scout").says("idle"))
    listening = asyncio.create_task(ask(scout, "login_wish", wait=20))
    await asyncio.sleep(0.2)
    await ask(operator, "login", name="scout")
    assert (await asyncio.wait_for(listening, 5))["wish"] == "start"
    link = "https://claude.ai/oauth/authorize?z-1"
    await ask(scout, "login_says", state="waiting", takes=1, link=link)
    assert (await ask(operator, "login_state", name="scout"))["link"] == link
    await ask(operator, "login_code", name="scout", code="good#code")
    assert (await ask(scout, "login_wish"))["code"] == "good#code"
    await ask(scout, "login_says", state="ok", takes=2, logged_in=True, account="claude.ai")
    assert (await ask(operator, "login_state", name="scout"))["account"] == "claude.ai"
    assert (await ask(operator, "why", name="scout"))["state"] == "idle"


async def test_nobody_acks_releases_or_renews_for_another(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    await ask(sockets["hm1nd"], "send", to="scout", body="look")
    [message] = (await ask(sockets["scout"], "recv", turn=turn))["messages"]
    assert await ask(sockets["forge"], "ack", turn=turn_row(turn)) == {"acked": 0}
    with pytest.raises(Refused) as refused:
        await ask(sockets["forge"], "renew", turn=turn)
    assert word(refused) == "lease_lost"
    with pytest.raises(Refused) as refused:
        await ask(sockets["scout"], "release", turn=turn_row(turn), how="retry", reason="x")
    assert word(refused) == "not_yours", "forge took the turn's id first, and the hive says so instead of mixing them"
    row = await asyncio.to_thread(Message.objects.get, pk=message["id"])
    assert row.state == "claimed"


async def test_a_hang_up_in_a_long_poll_claims_nothing(sockets: dict[str, Path]) -> None:
    client = Client(sockets["scout"])
    polling = asyncio.create_task(client.call("recv", turn=str(uuid.uuid4()), wait=10))
    await asyncio.sleep(0.2)
    await client.close()
    await asyncio.gather(polling, return_exceptions=True)
    await asyncio.sleep(0.1)
    sent = await ask(sockets["hm1nd"], "send", to="scout", body="look")
    await asyncio.sleep(0.2)
    assert (await asyncio.to_thread(Message.objects.get, pk=sent["id"])).state == "queued"


async def test_a_paused_agent_gets_nothing_until_it_is_resumed(sockets: dict[str, Path]) -> None:
    await ask(sockets["operator"], "pause", name="scout")
    await ask(sockets["hm1nd"], "send", to="scout", body="look")
    turn = str(uuid.uuid4())
    assert (await ask(sockets["scout"], "recv", turn=turn))["messages"] == []
    polling = asyncio.create_task(ask(sockets["scout"], "recv", turn=turn, wait=10))
    await ask(sockets["operator"], "resume", name="scout")
    assert len((await asyncio.wait_for(polling, 5))["messages"]) == 1


async def test_renew_hears_of_an_interrupt_at_once(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    await ask(sockets["hm1nd"], "send", to="scout", body="look")
    await ask(sockets["scout"], "recv", turn=turn)
    renewing = asyncio.create_task(ask(sockets["scout"], "renew", turn=turn, wait=20))
    await asyncio.sleep(0.2)
    await ask(sockets["operator"], "interrupt", name="scout")
    assert (await asyncio.wait_for(renewing, 5))["interrupt"] is True


async def test_renew_answers_in_time_however_often_it_is_woken(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    await ask(sockets["hm1nd"], "send", to="scout", body="look")
    await ask(sockets["scout"], "recv", turn=turn)
    renewing = asyncio.create_task(ask(sockets["scout"], "renew", turn=turn, wait=1))
    for _ in range(8):
        await asyncio.sleep(0.3)
        events.publish("control:scout")
    assert renewing.done(), "a lease that is not renewed in time is lost"
    assert (await renewing)["interrupt"] is False


async def test_interrupting_who_runs_no_turn_is_a_conflict(sockets: dict[str, Path]) -> None:
    with pytest.raises(Refused) as refused:
        await ask(sockets["operator"], "interrupt", name="scout")
    assert word(refused) == "no_turn"


def event_row(seq: int, kind: str = "assistant", **payload: Any) -> dict[str, Any]:
    return {"seq": seq, "turn": None, "at": timezone.now().isoformat(), "kind": kind, "payload": payload}


async def test_events_are_stored_once_and_without_a_gap(sockets: dict[str, Path]) -> None:
    first = [event_row(1), event_row(2, "state", state="thinking")]
    assert await ask(sockets["scout"], "events", rows=first, turns=[]) == {"seq": 2}
    assert await ask(sockets["scout"], "events", rows=[*first, event_row(3)], turns=[]) == {"seq": 3}
    with pytest.raises(Refused) as refused:
        await ask(sockets["scout"], "events", rows=[event_row(5)], turns=[])
    assert word(refused) == "event_gap"
    seqs = await asyncio.to_thread(lambda: list(Event.objects.filter(agent="scout").values_list("seq", flat=True)))
    assert seqs == [1, 2, 3]
    assert (await asyncio.to_thread(Agent.objects.get, name="scout")).state == "thinking"


@pytest.mark.parametrize(
    "payload", [{}, {"state": "elated"}, {"state": 5}, {"state": "idle", "why": 5}, {"state": "idle", "until": "soon"}]
)
async def test_a_state_that_is_none_is_refused_in_words(sockets: dict[str, Path], payload: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        await ask(sockets["scout"], "events", rows=[event_row(1, "state", **payload)], turns=[])
    assert refused.value.kind == "bad_params"
    assert (await asyncio.to_thread(Agent.objects.get, name="scout")).seq == 0


async def test_a_request_to_spawn_waits_for_the_operator_alone(sockets: dict[str, Path]) -> None:
    asked = await ask(sockets["hm1nd"], "request_spawn", name="digger", why="to dig", cid="call-0001")
    again = await ask(sockets["hm1nd"], "request_spawn", name="digger", why="to dig", cid="call-0001")
    assert asked["id"] == again["id"]
    with pytest.raises(Refused) as refused:
        await ask(sockets["hm1nd"], "approve", id=asked["id"], sha256="0" * 64)
    assert refused.value.kind == "unknown_verb"
    with pytest.raises(Refused) as refused:
        await ask(sockets["operator"], "approve", id=asked["id"], sha256="0" * 64)
    assert word(refused) == "content_changed"
    shown = await ask(sockets["operator"], "show", id=asked["id"])
    decided = await ask(sockets["operator"], "approve", id=asked["id"], sha256=shown["sha256"])
    assert (decided["state"], decided["decided_by"]) == ("approved", "operator")
    with pytest.raises(Refused, match="already approved, by operator"):
        await ask(sockets["operator"], "deny", id=asked["id"])
    await asyncio.to_thread(Approval.carry_out_all)
    assert await asyncio.to_thread(Container.objects.filter(name="digger").exists)
    got = await ask(sockets["hm1nd"], "recv", turn=str(uuid.uuid4()))
    assert "approved by operator and applied" in got["messages"][0]["body"]


async def test_the_manager_cannot_act_on_itself(sockets: dict[str, Path]) -> None:
    for verb in ("kill", "start", "restart"):
        with pytest.raises(Refused) as refused:
            await ask(sockets["hm1nd"], verb, name="hm1nd")
        assert word(refused) == "not_yourself"


@pytest.mark.parametrize(
    ("verb", "params", "words"),
    [
        ("send", {"to": "hm1nd"}, "'body' is missing"),
        ("send", {"to": "hm1nd", "body": 5}, "body"),
        ("send", {"to": "hm1nd", "body": "x", "color": "red"}, "no parameter 'color'"),
        ("recv", {"turn": "12345678", "wait": 61}, "wait"),
        ("recv", {"turn": "x y"}, "turn"),
        ("hello", {"harness": "12345678", "cli_version": "2", "seq": -1}, "seq"),
        ("ack", {"turn": {"id": "12345678"}}, "turn"),
        ("release", {"turn": turn_row("12345678"), "how": "burn", "reason": ""}, "how"),
        ("bash", {}, "There is no verb 'bash'"),
    ],
)
async def test_params_that_do_not_fit_are_a_sentence(
    sockets: dict[str, Path], verb: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as refused:
        await ask(sockets["scout"], verb, **params)
    assert refused.value.kind in ("bad_params", "unknown_verb")
    assert words in str(refused.value)


# ---- the same verbs as MCP tools


class Mcp:
    """A hand-made MCP client: the protocol as claude speaks it, a line each way."""

    def __init__(self, path: Path):
        self.path, self.ids = path, 0

    async def __aenter__(self) -> "Mcp":
        self.reader, self.writer = await asyncio.open_unix_connection(self.path, limit=1 << 20)
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.hello = await self.ask("initialize", client)
        self.writer.write(wire.encode({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        self.ids += 1
        self.writer.write(wire.encode({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params}))
        return json.loads(await asyncio.wait_for(self.reader.readline(), 15))

    async def tool(self, tool: str, turn: str = "", key: str = "", /, **arguments: Any) -> tuple[bool, str]:
        meta = {"hive/turn": turn, "hive/key": key} if turn else {}
        reply = await self.ask("tools/call", {"name": tool, "arguments": arguments, "_meta": meta})
        result = reply["result"]
        return result.get("isError", False), result["content"][0]["text"]


async def offered(path: Path) -> set[str]:
    async with Mcp(path) as mcp:
        return {tool["name"] for tool in (await mcp.ask("tools/list", {}))["result"]["tools"]}


async def test_each_role_is_offered_its_own_tools(sockets: dict[str, Path]) -> None:
    assert await offered(sockets["scout"]) == {"send", "recv", "why"}
    assert await offered(sockets["hm1nd"]) == ONLY_MANAGER | {"send", "recv", "why", "kill", "start", "restart"}


async def test_who_is_about_to_be_rebuilt_gets_no_message_before_it_is_back(sockets: dict[str, Path]) -> None:
    await asyncio.to_thread(Container.objects.filter(pk="scout").update, op="rebuild")
    await ask(sockets["hm1nd"], "send", to="scout", body="look")
    turn = str(uuid.uuid4())
    polling = asyncio.create_task(ask(sockets["scout"], "recv", turn=turn, wait=10))
    await asyncio.sleep(0.3)
    assert not polling.done()
    row = await asyncio.to_thread(Container.named, "scout")
    await asyncio.to_thread(steps.settle, row, {"status": "running"})
    assert [message["body"] for message in (await asyncio.wait_for(polling, 5))["messages"]] == ["look"]


async def test_a_request_to_apply_a_commit_is_fetched_beside_the_writer(
    sockets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = Blob(b'model = "opus"\n', "", "a" * 40)
    monkeypatch.setattr(repos, "fetch", lambda *given: time.sleep(0.5) or blob)
    monkeypatch.setattr(repos, "Applied", None)
    tool = {"agent": "scout", "sha": "a" * 40, "why": "a better model"}
    asking = asyncio.create_task(ask(sockets["hm1nd"], "request_apply_commit", **tool, cid="call-0001"))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await ask(sockets["hm1nd"], "send", to="scout", body="meanwhile")
    assert time.monotonic() - began < 0.3, "nobody waits for the fetch"
    asked = await asking
    assert asked["changes"] == ["model unset → opus"]
    again = await ask(sockets["hm1nd"], "request_apply_commit", **tool, cid="call-0001")
    assert again["id"] == asked["id"]
    shown = await ask(sockets["operator"], "show", id=asked["id"])
    assert [row["text"] for row in shown["diff"] if row["kind"] == "add"] == ['model = "opus"']
    assert (await ask(sockets["operator"], "approve", id=asked["id"], sha256=shown["sha256"]))["state"] == "approved"


async def test_a_tool_call_repeated_after_a_restart_is_the_same_call(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    said = []
    for _ in range(2):
        async with Mcp(sockets["scout"]) as mcp:
            said.append(await mcp.tool("send", turn, f"{turn}:toolu_1", to="hm1nd", body="found it"))
    assert said[0] == said[1]
    assert said[0][1].startswith("Sent as message #")
    assert await asyncio.to_thread(Message.objects.count) == 1


async def test_what_a_tool_reads_belongs_to_the_turn(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    sent = await ask(sockets["hm1nd"], "send", to="scout", body="one more thing")
    async with Mcp(sockets["scout"]) as mcp:
        error, text = await mcp.tool("recv", turn, f"{turn}:toolu_1", wait=1)
        assert not error
        assert text == f"[message #{sent['id']} from hm1nd (manager), attempt 1]\none more thing"
        assert await mcp.tool("recv", turn, f"{turn}:toolu_2") == (False, "No message.")
    assert await ask(sockets["scout"], "ack", turn=turn_row(turn)) == {"acked": 1}


async def test_a_tool_says_no_in_words_the_model_can_read(sockets: dict[str, Path]) -> None:
    async with Mcp(sockets["hm1nd"]) as mcp:
        assert await mcp.tool("send", to="scuot", body="x") == (True, "Nobody is called 'scuot'. Did you mean 'scout'?")
        assert await mcp.tool("approve", id=1) == (True, "There is no tool 'approve'.")
        error, text = await mcp.tool("send", to="scout", body="x", cid="mine")
        assert error
        assert "no parameter 'cid'" in text
        error, text = await mcp.tool("request_spawn", name="Not A Name", why="x")
        assert error


async def test_a_long_result_is_cut_with_the_way_to_the_rest(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    await ask(sockets["hm1nd"], "send", to="scout", body="x" * 60_000)
    async with Mcp(sockets["scout"]) as mcp:
        _, text = await mcp.tool("recv", turn, f"{turn}:toolu_1")
    assert len(text) < 31_000
    assert "more characters" in text


async def test_rows_of_another_agent_stay_its_own(sockets: dict[str, Path]) -> None:
    turn = str(uuid.uuid4())
    await ask(sockets["scout"], "events", rows=[], turns=[turn_row(turn, outcome="")])
    with pytest.raises(Refused) as refused:
        await ask(sockets["forge"], "events", rows=[], turns=[turn_row(turn, outcome="ok")])
    assert word(refused) == "not_yours"
    assert (await asyncio.to_thread(Turn.objects.get, pk=turn)).outcome == ""
    assert not await asyncio.to_thread(Lease.objects.exists)


async def test_approvals_and_turns_are_read_on_from_a_cursor(sockets: dict[str, Path]) -> None:
    for number in range(3):
        await ask(sockets["hm1nd"], "request_spawn", name=f"new{number}", why="to look around")
        await ask(sockets["scout"], "ack", turn=turn_row(f"turn-000{number}", number=number + 1))
    first = await ask(sockets["operator"], "approvals", state="all", after=0, limit=2)
    rest = await ask(sockets["operator"], "approvals", state="all", after=first["last"], limit=2)
    assert [row["agent"] for page in (first, rest) for row in page["approvals"]] == ["new0", "new1", "new2"]
    turns = await ask(sockets["operator"], "turns", name="scout", after=1, limit=1)
    assert ([turn["number"] for turn in turns["turns"]], turns["last"]) == ([2], 2)
    newest = await ask(sockets["operator"], "turns", name="scout", limit=2)
    assert [turn["number"] for turn in newest["turns"]] == [2, 3]
