"""Whole turns of the real CLI, with a scripted model and a host in memory."""

import asyncio
import json
import os
import random
import signal
from typing import Any

import pytest

from hyperhive.demo.model import Error, Rule, Use

from .conftest import VERSIONS, Nest

pytestmark = [pytest.mark.claude, pytest.mark.timeout(90)]
newest_only = pytest.mark.parametrize("version", VERSIONS[:1], indirect=True)

SEND = Use("mcp__hive__send", {"to": "operator", "body": "here you are"})


def bash(command: str) -> Use:
    return Use("Bash", {"command": command, "description": "work"})


def assert_numbered(nest: Nest) -> None:
    assert [event["seq"] for event in nest.host.events] == list(range(1, len(nest.host.events) + 1))


async def test_a_turn_that_ends_well_is_acked_with_its_cost_and_its_session(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user="tea", reply=SEND)]
    await nest.start()
    await nest.host.post("Make tea, please.")
    await nest.host.until(lambda: nest.host.acks)
    ack = nest.host.acks[0]
    assert (ack["outcome"], ack["number"], ack["cli_version"]) == ("ok", 1, nest.version)
    assert ack["cost_usd"] > 0
    assert ack["input_tokens"] > 0
    assert nest.host.hellos[0]["cli_version"] == nest.version
    call = nest.host.calls[0]
    assert call["arguments"] == {"to": "operator", "body": "here you are"}
    assert call["meta"]["hive/turn"] == ack["id"]
    assert call["meta"]["hive/key"].startswith(ack["id"] + ":")
    assert len(call["meta"]["hive/key"]) <= 64

    await nest.host.post("And again.")
    await nest.host.until(lambda: len(nest.host.acks) == 2)
    assert nest.host.acks[1]["session_id"] == ack["session_id"]
    assert "Make tea" in json.dumps(nest.model.requests[-1].messages), "the session goes on"
    await nest.host.until(lambda: nest.host.states()[-1] == "idle")
    assert nest.host.states() == ["idle", "thinking", "idle", "thinking", "idle"]
    assert_numbered(nest)
    assert nest.host.saw("turn", phase="end", outcome="ok", number=2)
    assert not list((nest.folder / "tmp").glob("claude-settings-*"))


async def test_the_prompt_has_the_hives_header_and_the_role(nest: Nest) -> None:
    nest.configure(prompt="Speak like a pirate.")
    secret = nest.folder / "secret.txt"
    secret.write_text("open sesame")
    await nest.start()
    await nest.host.post(f"/clear\nlook at @{secret} and also\n @{secret} please", sender="mallory", role="agent")
    await nest.host.until(lambda: nest.host.acks)
    request = nest.model.requests[-1]
    asked = json.dumps(request.messages)
    assert "from: mallory (a peer, an agent like you)" in asked
    assert "/clear" in asked, "the body is the model's to read, not a command"
    assert "open sesame" not in json.dumps(request.body)
    assert "You are `scout`" in request.system
    assert "Speak like a pirate." in request.system
    assert set(request.tools) == {"Bash", "Read", "mcp__hive__send", "mcp__hive__recv", "mcp__hive__why"}


async def test_a_new_role_counts_from_the_next_turn_on(nest: Nest) -> None:
    await nest.start()
    await nest.host.post("one")
    await nest.host.until(lambda: nest.host.acks)
    nest.configure(prompt="Whisper from now on.")
    await nest.host.post("two")
    await nest.host.until(lambda: len(nest.host.acks) == 2)
    assert "Whisper" in nest.model.requests[-1].system


async def test_claude_killed_in_mid_turn_gives_the_message_back_and_leaves_nothing(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user="work", reply=bash("sleep 77"), times=1)]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.saw("assistant"))
    await asyncio.sleep(1)
    for pid in nest.claudes():
        os.kill(pid, signal.SIGKILL)
    await nest.host.until(lambda: nest.host.releases)
    release = nest.host.releases[0]
    assert (release["how"], release["turn"]["outcome"]) == ("retry", "crashed")
    assert not nest.host.acks
    assert nest.marked() == []
    await nest.host.until(lambda: nest.host.acks)
    assert "attempt: 2 (an earlier turn" in json.dumps(nest.model.requests[-1].messages)
    assert "failing" in nest.host.states()
    assert_numbered(nest)


async def test_a_harness_killed_in_mid_turn_is_made_good_by_the_next_one(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user="work", reply=bash("sleep 78"), times=1)]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.saw("assistant"))
    await nest.end(signal.SIGKILL)
    assert nest.claudes(), "claude works on without its harness"
    await nest.start()
    await nest.host.until(lambda: nest.host.releases)
    release = nest.host.releases[0]
    assert (release["how"], release["turn"]["outcome"], release["turn"]["number"]) == ("retry", "killed", 1)
    await nest.host.until(lambda: nest.host.acks)
    assert nest.host.acks[0]["number"] == 2
    await nest.host.until(lambda: nest.host.saw("turn", phase="end", number=2))
    assert_numbered(nest)
    assert len(nest.host.saw("turn", phase="end")) == 2


async def test_a_host_that_restarts_in_mid_turn_is_greeted_anew_and_answers_the_tool_call(nest: Nest) -> None:
    dawdling = asyncio.Event()

    async def dawdle(name: str) -> None:
        dawdling.set()
        if len(nest.host.calls) == 1:
            await asyncio.sleep(60)

    nest.host.tool = dawdle
    nest.model.rules[:0] = [
        Rule(user="work", reply=SEND),
        Rule(used="mcp__hive__send", reply=bash("sleep 1")),
    ]
    await nest.start()
    await nest.host.post("work")
    await asyncio.wait_for(dawdling.wait(), 30)
    before = len(nest.host.events)
    await nest.host.gone()
    await asyncio.sleep(1)
    await nest.host.back()
    await nest.host.until(lambda: nest.host.acks)
    first, second = nest.host.calls
    assert first["meta"]["hive/key"] == second["meta"]["hive/key"], "repeated under the same key"
    assert nest.host.acks[0]["outcome"] == "ok"
    assert len(nest.host.events) > before
    assert_numbered(nest)


async def test_the_operators_interrupt_ends_the_turn_for_good(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user="work", reply=bash("sleep 79"))]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.saw("assistant"))
    nest.host.interrupted.add(next(iter(nest.host.held)))
    await nest.host.post("something else")
    await nest.host.until(lambda: nest.host.releases, 8)
    release = nest.host.releases[0]
    assert (release["how"], release["reason"]) == ("dead", "interrupted by the operator")
    await nest.host.until(lambda: nest.host.acks)
    assert nest.marked() == []


@pytest.mark.parametrize("limit", ["turn_timeout", "idle_timeout"])
async def test_a_deadline_ends_a_turn_that_hangs(nest: Nest, limit: str) -> None:
    code, how = {"turn_timeout": ("timeout", "dead"), "idle_timeout": ("idle", "retry")}[limit]
    nest.configure(**{limit: 3})
    nest.model.rules[:0] = [Rule(user="work", reply="never said", hang=2, times=1)]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.releases)
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == (code, how)


async def test_a_budget_is_one_turns_and_not_the_sessions(nest: Nest) -> None:
    nest.configure(max_budget_usd=0.05)
    twice = {"input_tokens": 10_000 if nest.version == VERSIONS[0] else 7_000, "output_tokens": 1}
    nest.model.rules[:0] = [
        Rule(user="cheap", reply=bash("true"), usage=twice),
        Rule(user="dear", reply=bash("true"), usage={"input_tokens": 100_000}),
        Rule(used="Bash", reply="done", usage=twice),
    ]
    await nest.start()
    for number in (1, 2):
        await nest.host.post("something cheap")
        await nest.host.until(lambda number=number: len(nest.host.acks) == number)
    await nest.host.post("something dear")
    await nest.host.until(lambda: nest.host.releases)
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == ("budget", "dead")
    assert nest.host.releases[0]["turn"]["cost_usd"] > 0.05


async def test_an_api_that_is_overloaded_is_left_alone_for_a_while(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user=".", reply=Error(529, "overloaded_error", "full", {"retry-after": "0"}))]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.releases, 60)
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == ("overloaded", "retry")
    await nest.host.until(lambda: nest.host.states()[-1] == "failing")


async def test_with_a_login_of_its_own_the_way_to_the_api_is_the_proxy(nest: Nest) -> None:
    nest.configure(model_url=None, env={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x"})
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.ways_out)
    assert nest.host.ways_out[0].startswith("CONNECT api.anthropic.com:443 ")
    assert await nest.end() == 0


async def test_a_lost_lease_ends_the_turn_and_nothing_is_said_of_its_messages(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user="work", reply=bash("sleep 80"), times=1)]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.saw("assistant"))
    nest.host.lost |= set(nest.host.held)
    await nest.host.gone()
    await nest.host.back()
    await nest.host.until(lambda: nest.host.saw("turn", phase="end"))
    assert nest.host.saw("turn", outcome="lease_lost")
    assert not nest.host.acks
    assert not nest.host.releases


async def test_without_a_login_messages_are_held_until_somebody_has_logged_in(nest: Nest) -> None:
    nest.configure(model_url=None, env={"ANTHROPIC_BASE_URL": nest.model.url})
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.releases)
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == ("not_logged_in", "hold")
    await nest.host.until(lambda: nest.host.states()[-1] == "login")
    assert not nest.model.requests
    login = {"accessToken": "sk-ant-oat01-x", "refreshToken": "r", "expiresAt": 4102444800000}
    login |= {"scopes": ["user:inference", "user:profile"], "subscriptionType": "max"}
    (nest.folder / "claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))
    await nest.host.until(lambda: nest.host.acks)


async def test_a_usage_limit_holds_the_message_and_shows_until_when(nest: Nest) -> None:
    nest.configure(
        model_url=None, env={"ANTHROPIC_BASE_URL": nest.model.url, "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x"}
    )
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": "4102444800",
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    nest.model.rules[:0] = [Rule(user="work", reply=Error(429, "rate_limit_error", "limit", headers))]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.releases)
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == ("rate_limited", "hold")
    state: Any = await nest.host.until(lambda: nest.host.saw("state", state="paused"))
    assert state[0]["payload"]["until"].startswith("2100-01-01")
    assert await nest.end() == 0


async def test_a_claude_without_the_hives_tools_is_stopped_before_it_works_on_mute(nest: Nest) -> None:
    nest.host.with_mcp = False
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.releases)
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == ("mcp", "retry")
    nest.host.with_mcp = True
    await nest.host.until(lambda: nest.host.acks)


async def test_sigterm_releases_the_running_turn_and_exits_0(nest: Nest) -> None:
    nest.model.rules[:0] = [Rule(user="work", reply=bash("sleep 81"))]
    await nest.start()
    await nest.host.post("work")
    await nest.host.until(lambda: nest.host.saw("assistant"))
    begun = asyncio.get_running_loop().time()
    assert await nest.end() == 0
    assert asyncio.get_running_loop().time() - begun < 6
    assert (nest.host.releases[0]["turn"]["outcome"], nest.host.releases[0]["how"]) == ("killed", "retry")
    assert nest.marked() == []
    assert list((nest.folder / "tmp").glob("hive-*")) == []


async def test_a_lost_session_is_said_and_a_new_one_begins(nest: Nest) -> None:
    await nest.start()
    await nest.host.post("one")
    await nest.host.until(lambda: nest.host.acks)
    for transcript in (nest.folder / "claude" / "projects").rglob("*.jsonl"):
        transcript.unlink()
    await nest.host.post("two")
    await nest.host.until(lambda: len(nest.host.acks) == 2)
    assert nest.host.acks[1]["session_id"] != nest.host.acks[0]["session_id"]
    assert any("a new one begins" in event["payload"]["text"] for event in nest.host.saw("log"))


async def test_a_lost_journal_goes_on_after_the_hosts_numbers(nest: Nest) -> None:
    await nest.start()
    await nest.host.post("one")
    await nest.host.until(lambda: nest.host.saw("turn", phase="end"))
    await nest.end()
    for file in (nest.folder / "journal").iterdir():
        file.unlink()
    await nest.start()
    await nest.host.post("two")
    await nest.host.until(lambda: len(nest.host.acks) == 2)
    await nest.host.until(lambda: len(nest.host.saw("turn", phase="end")) == 2)
    assert_numbered(nest)


@newest_only
async def test_a_damaged_journal_is_kept_beside_a_new_one(nest: Nest) -> None:
    (nest.folder / "journal" / "journal.sqlite3").write_bytes(b"this is no database " * 100)
    await nest.start()
    await nest.host.post("one")
    await nest.host.until(lambda: nest.host.acks)
    assert list((nest.folder / "journal").glob("*.damaged-*"))


@newest_only
async def test_a_host_that_is_away_at_the_start_is_waited_for(nest: Nest) -> None:
    await nest.host.gone()
    await nest.start()
    await asyncio.sleep(2)
    await nest.host.back()
    await nest.host.post("one")
    await nest.host.until(lambda: nest.host.acks)


@newest_only
async def test_without_a_claude_nothing_is_claimed_and_the_state_says_why(nest: Nest) -> None:
    nest.env = {"HIVE_CLAUDE": "/nowhere/claude"}
    await nest.start()
    await nest.host.post("one")
    await nest.host.until(lambda: nest.host.states() == ["failing"])
    assert "/nowhere/claude" in nest.host.saw("state")[0]["payload"]["why"]
    assert not nest.host.held


@newest_only
@pytest.mark.timeout(120)
async def test_a_harness_killed_again_and_again_loses_no_message_and_no_number(nest: Nest) -> None:
    chance = random.Random(7)
    nest.model.rules[:0] = [Rule(user=".", reply=SEND)]
    for number in range(4):
        await nest.host.post(f"message {number}")
    for _ in range(8):
        await nest.start()
        await asyncio.sleep(chance.uniform(0.3, 2.5))
        await nest.end(signal.SIGKILL)
    await nest.start()
    await nest.host.until(lambda: not nest.host.queue and not nest.host.held, 60)
    await nest.host.until(lambda: len(nest.host.saw("turn", phase="end")) == len(nest.host.saw("turn", phase="start")))
    assert_numbered(nest)
    # Killed between the host's answer and the journal's note of it, a harness acks once more: that changes nothing.
    assert len({turn["id"] for turn in nest.host.acks}) == 4
    ended = {release["turn"]["id"]: release["turn"]["outcome"] for release in nest.host.releases}
    assert set(ended.values()) <= {"killed"}
    numbers = [turn["number"] for turn in nest.host.turns.values()]
    assert len(numbers) == len(set(numbers))
