"""What an event looks like, for every event that a real Claude wrote here and for any other shape."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.lines import DETAIL, KINDS, LABEL, TEXT, line
from agents.models import Event

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(["type", "text", "content"]), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(
    ["message", "content", "type", "subtype", "error", "result", "text", "state", "from", "messages", "number"]
)


def seen(kind, payload):
    return line(Event(agent="scout", seq=1, kind=kind, payload=payload))


def block(kind, **fields):
    return {"message": {"content": [{"type": kind} | fields]}}


INIT = {"subtype": "init", "model": "opus", "claude_code_version": "2.1.330", "session_id": "36e4f25c-48a3"}
SEND = block("tool_use", name="mcp__hive__send", input={"to": "hm1nd", "body": "done"})
FAILED = block("tool_result", content="1 failed\n41 passed", is_error=True)
LINES = [
    ("assistant", block("text", text="I read the file."), ("text", "text", "I read the file.", "")),
    ("assistant", block("tool_use", name="Bash", input={"command": "pytest -q"}), ("tool", "Bash", "pytest -q", "")),
    ("assistant", SEND, ("tool", "send", "→ hm1nd: done", "")),
    ("assistant", {"error": "rate_limit", "message": {"content": "slow down"}}, ("err", "rate_limit", "slow down", "")),
    ("user", FAILED, ("err", "error", "1 failed", "1 failed\n41 passed")),
    ("user", block("tool_result", content=[{"type": "text", "text": "ok"}]), ("result", "result", "ok", "")),
    ("user", {"message": {"content": "go on"}}, ("", "told", "go on", "")),
    ("result", {"result": "pong", "is_error": False}, ("done", "done", "pong", "")),
    ("result", {"subtype": "error_max_turns", "is_error": True}, ("err", "failed", "error_max_turns", "")),
    ("system", INIT, ("", "init", "opus · 2.1.330 · session 36e4f25c", "")),
    ("state", {"state": "login", "why": "Not logged in."}, ("err", "state", "◇ login · Not logged in.", "")),
    (
        "wake",
        {"messages": [12], "from": "hm1nd", "attempt": 2},
        ("wake", "wake", "message 12 from hm1nd, attempt 2", ""),
    ),
    ("turn", {"phase": "end", "number": 3, "outcome": "timeout"}, ("err", "turn", "turn 3 ended timeout", "")),
    ("log", {"text": "boom\x1b[31m"}, ("log", "log", "boom\\x1b[31m", "")),
    ("egress", {"text": "x:1 is not on the list.", "line": "y"}, ("err", "refused", "x:1 is not on the list.", "")),
    ("gap", {"skipped": 9}, ("gap", "gap", "9 events were lost before they were stored", "")),
    ("from_the_future", {"type": "from_the_future", "x": 1}, ("", "from_the_future", '{"x": 1}', "")),
]


@pytest.mark.parametrize(("kind", "payload", "wanted"), LINES)
def test_a_line_of_each_kind(kind, payload, wanted):
    assert tuple(seen(kind, payload)) == wanted


def test_long_text_is_cut_and_says_how_much():
    shown = seen("log", {"text": "x" * 100_000})
    assert shown.text.endswith("… 99600 more characters")
    assert shown.detail.endswith("… 96000 more characters")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*KINDS, "unheard of"]), st.dictionaries(names, json_values, max_size=5) | json_values)
def test_any_shape_is_shown(kind, payload):
    shown = seen(kind, payload)
    assert len(shown.label) < 12 * LABEL
    assert len(shown.text) < 12 * TEXT
    assert len(shown.detail) < 12 * DETAIL
    assert not any(char < " " and char not in "\n\t" for part in shown for char in part)


FIXTURES = sorted(Path(__file__).parents[1].glob("fixtures/claude_events/**/*.jsonl"))


@pytest.mark.skipif(not FIXTURES, reason="no recorded events here")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_real_claude_wrote(path):
    for text in path.read_text().splitlines():
        if text.startswith("{"):
            payload = json.loads(text)
            assert seen(payload["type"], payload).label
