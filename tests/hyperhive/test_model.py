"""The scripted model: what it answers to bare requests, and to the real CLI of both versions."""

import http.client
import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from agents.cli import FLOOR, WANTED
from hyperhive.demo.model import Error, Rule, ScriptedModel, Text, Think, Use

PROJECT = Path(__file__).resolve().parents[2]


def prompt(text, **more):
    return {"model": "claude-x", "max_tokens": 99, "messages": [{"role": "user", "content": text}]} | more


def after_tool(name, result, text="look"):
    call = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": result}]}
    body = prompt(text)
    body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]
    return body


def request(model, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


def ask(model, body):
    return json.loads(request(model, "POST", "/v1/messages?beta=true", body)[1])


def said(model, body):
    return "".join(block.get("text", "") for block in ask(model, body)["content"])


# ---- rules


def test_the_first_rule_that_fits_answers():
    rules = [Rule(user="^hello$", reply="exactly"), Rule(user="hello", reply="somewhere")]
    with ScriptedModel(rules) as model:
        assert said(model, prompt("hello")) == "exactly"
        assert said(model, prompt("oh hello")) == "somewhere"


def test_a_request_without_a_rule_is_told_so():
    with ScriptedModel([]) as model:
        assert "no line for this: 'hello'" in said(model, prompt("hello"))


def test_named_groups_fill_the_reply_and_other_braces_stay():
    rules = [
        Rule(user="call (?P<who>\\w+)", reply=[Text("{who} {else}"), Use("Bash", {"command": ["echo {who} ${HOME}"]})])
    ]
    with ScriptedModel(rules) as model:
        text, use = ask(model, prompt("call Ada"))["content"]
    assert text["text"] == "Ada {else}"
    assert use["input"] == {"command": ["echo Ada ${HOME}"]}


def test_a_callable_computes_the_reply_from_the_request():
    with ScriptedModel([Rule(lambda request: f"{len(request.messages)} of {request.model}")]) as model:
        assert said(model, prompt("hello")) == "1 of claude-x"


def test_a_rule_for_a_prompt_does_not_fit_what_follows_a_tool():
    rules = [Rule(user="look", reply="fresh"), Rule(used="Bash", result="(?P<saw>\\d+)", reply="saw {saw}")]
    with ScriptedModel(rules) as model:
        assert said(model, prompt("look")) == "fresh"
        assert said(model, after_tool("Bash", "it is 42")) == "saw 42"
        assert "no line" in said(model, after_tool("Read", "it is 42"))


def test_a_rule_can_want_a_tool_a_model_and_a_system_prompt():
    rules = [Rule("found", offers="mcp__hive__send", model="opus", system="You are scout")]
    fitting = {
        "tools": [{"name": "mcp__hive__send"}],
        "model": "claude-opus-5",
        "system": [{"type": "text", "text": "You are scout."}],
    }
    with ScriptedModel(rules) as model:
        assert said(model, prompt("x", **fitting)) == "found"
        for other in ({"tools": []}, {"model": "sonnet"}, {"system": "You are hm1nd."}):
            assert "no line" in said(model, prompt("x", **(fitting | other)))


def test_what_the_cli_adds_to_a_prompt_is_not_the_users_text():
    content = [
        {"type": "text", "text": "<system-reminder>\nhello\n</system-reminder>"},
        {"type": "text", "text": "bye"},
    ]
    with ScriptedModel([Rule(user="hello", reply="wrong"), Rule(user="^bye$", reply="right")]) as model:
        assert said(model, prompt(content)) == "right"


def test_a_rule_applies_so_often_and_then_the_next_does():
    with ScriptedModel([Rule("once", times=1), Rule("then")]) as model:
        assert [said(model, prompt("x")) for _ in range(3)] == ["once", "then", "then"]


# ---- how it answers


def test_it_answers_the_cli_s_first_look_and_nothing_else():
    with ScriptedModel([]) as model:
        for method, path, status in [
            ("HEAD", "/", 200),
            ("HEAD", "/api/hello", 200),
            ("GET", "/api/hello", 200),
            ("GET", "/v1/models", 404),
            ("POST", "/v1/other", 404),
        ]:
            assert request(model, method, path)[0].status == status, path


def test_it_counts_tokens():
    with ScriptedModel([]) as model:
        reply = json.loads(request(model, "POST", "/v1/messages/count_tokens", prompt("hello"))[1])
    assert reply["input_tokens"] > 0


def test_a_stream_carries_what_the_whole_message_has():
    rules = [Rule([Think("hm"), Text("a" * 60), Use("Bash", {"command": "ls"})], usage={"output_tokens": 7})]
    with ScriptedModel(rules) as model:
        reply, raw = request(model, "POST", "/v1/messages", prompt("x", stream=True))
    events = [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: ")]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert reply.getheader("content-type") == "text/event-stream"
    assert "".join(delta.get("text", "") for delta in deltas) == "a" * 60
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == {"command": "ls"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"] == {"output_tokens": 7}
    assert events[-1] == {"type": "message_stop"}


def test_an_error_has_its_status_type_and_headers():
    with ScriptedModel([Rule(Error(529, "overloaded_error", "Too much.", {"retry-after": "3"}))]) as model:
        reply, raw = request(model, "POST", "/v1/messages", prompt("x"))
    assert (reply.status, reply.getheader("retry-after")) == (529, "3")
    assert json.loads(raw)["error"] == {"type": "overloaded_error", "message": "Too much."}


def test_a_cut_stream_ends_without_its_end():
    with ScriptedModel([Rule("a" * 200, cut=4)]) as model, pytest.raises(http.client.IncompleteRead):
        request(model, "POST", "/v1/messages", prompt("x", stream=True))


def test_stopping_ends_a_stream_that_hangs():
    model = ScriptedModel([Rule("never", hang=1)]).start()
    ended = []
    asker = threading.Thread(target=lambda: ended.append(hung(model)))
    asker.start()
    while not model.requests:
        time.sleep(0.01)
    model.stop()
    asker.join(5)
    assert ended == ["broken"]


def hung(model):
    try:
        request(model, "POST", "/v1/messages", prompt("x", stream=True))
    except (http.client.HTTPException, OSError):
        return "broken"
    return "whole"


def test_slow_streams_run_side_by_side():
    with ScriptedModel([Rule("a" * 96, before=0.1, pace=0.05)]) as model:
        begun = time.monotonic()
        askers = [threading.Thread(target=ask, args=(model, prompt("x"))) for _ in range(8)]
        askers += [threading.Thread(target=request, args=(model, "POST", "/v1/messages", prompt("x", stream=True)))]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert 0.4 < time.monotonic() - begun < 4
        assert len(model.requests) == 9


# ---- the real CLI

CLI_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "ANTHROPIC_API_KEY": "held-by-the-host",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "DISABLE_AUTOUPDATER": "1",
    "ENABLE_TOOL_SEARCH": "false",
}


@pytest.fixture(params=[WANTED, FLOOR])
def claude(request, tmp_path):
    """Runs one turn of the real CLI: claude(model, text) -> its events, the result last."""
    binary = PROJECT / ".tools" / f"claude-{request.param}" / "claude"
    if not binary.exists():
        pytest.skip(f"bin/setup test installs Claude CLI {request.param}")

    def turn(model, text):
        argv = [binary, "--print", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        argv += ["--strict-mcp-config", "--setting-sources", "", "--tools", "Bash", "--allowedTools", "Bash"]
        argv += ["--permission-mode", "dontAsk", "--model", "sonnet", "--append-system-prompt", "You are scout."]
        env = CLI_ENV | {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": f"{tmp_path}/.claude", "TMPDIR": str(tmp_path)}
        line = json.dumps({"type": "user", "message": {"role": "user", "content": text}}) + "\n"
        done = subprocess.run(
            argv,
            input=line,
            env=env | {"ANTHROPIC_BASE_URL": model.url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return turn


@pytest.mark.claude
def test_claude_has_a_turn_of_text(claude):
    with ScriptedModel([Rule(user="^hello (?P<who>\\w+)$", system="You are scout", reply="Hi {who}.")]) as model:
        result = claude(model, "hello Ada")[-1]
    assert (result["is_error"], result["result"], len(model.requests)) == (False, "Hi Ada.", 1)


@pytest.mark.claude
def test_claude_runs_a_scripted_tool_call(claude, tmp_path):
    rules = [
        Rule(user="look", reply=[Think("Where am I?"), Text("I look."), Use("Bash", {"command": "pwd"})]),
        Rule(used="Bash", result="(?P<where>/\\S+)", reply="I am in {where}."),
    ]
    with ScriptedModel(rules) as model:
        result = claude(model, "look")[-1]
    assert result["result"] == f"I am in {tmp_path}."
    assert [request.used for request in model.requests] == [[], ["Bash"]]


@pytest.mark.claude
def test_claude_tries_again_when_the_model_is_overloaded(claude):
    with ScriptedModel([Rule(Error(529, "overloaded_error"), times=1), Rule("Here I am.")]) as model:
        events = claude(model, "hello")
    assert events[-1]["result"] == "Here I am."
    assert [event["error_status"] for event in events if event.get("subtype") == "api_retry"] == [529]
    assert len(model.requests) == 2


@pytest.mark.claude
def test_claude_gives_up_on_a_rate_limit(claude):
    with ScriptedModel([Rule(Error(429, "rate_limit_error", "Slow down.", {"retry-after": "0"}))]) as model:
        events = claude(model, "hello")
    assert events[-1]["is_error"]
    assert [event["error"] for event in events if event["type"] == "assistant"] == ["rate_limit"]


@pytest.mark.claude
def test_claude_asks_again_after_a_cut_stream(claude):
    with ScriptedModel([Rule("half" * 20, cut=3, times=1), Rule("whole")]) as model:
        assert claude(model, "hello")[-1]["result"] == "whole"
