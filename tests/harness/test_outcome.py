"""What the events of four versions of the real CLI are read as."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.outcome import Outcome

EVENTS = Path(__file__).parents[1] / "fixtures" / "claude_events"
VERSIONS = sorted(path.name for path in EVENTS.iterdir())

# Case -> the code it is read as.
CASES = {
    "ok": "ok",
    "tool": "ok",
    "denied": "ok",
    "compact": "ok",
    "api_529_then_ok": "ok",
    "mcp_failed": "ok",
    "not_logged_in": "not_logged_in",
    "api_401": "not_logged_in",
    "api_500": "api_error",
    "limit_429": "rate_limited",
    "max_turns": "budget",
    "max_budget": "budget",
    "max_tokens": "refused",
    "refusal": "refused",
    "control_interrupt": "crashed",
    "sigkill_in_tool": "crashed",
}


def outcome(version: str, case: str) -> Outcome:
    read = Outcome()
    for line in (EVENTS / version / f"{case}.jsonl").read_text().splitlines():
        read.take(json.loads(line))
    return read


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_every_case_of_every_version_is_read_as_what_it_was(version: str, case: str) -> None:
    read = outcome(version, case)
    assert read.code() == CASES[case]
    assert read.cli_version == version
    assert read.session_id
    assert read.model


@pytest.mark.parametrize("version", VERSIONS)
def test_claude_says_in_words_why_it_failed(version: str) -> None:
    assert "Not logged in" in outcome(version, "not_logged_in").words()
    assert "maximum budget" in outcome(version, "max_budget").words()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_limit_tells_when_it_ends(version: str) -> None:
    assert outcome(version, "limit_429").resets_at == 1795359428


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_failed_is_no_hive(version: str) -> None:
    assert outcome(version, "mcp_failed").mcp == "failed"
    assert outcome(version, "ok").mcp == "missing"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_turn_costs_what_its_result_says(version: str) -> None:
    read = outcome(version, "tool")
    assert read.result
    assert read.cost_usd == pytest.approx(read.result["total_cost_usd"])
    assert read.tokens["output_tokens"] == read.result["usage"]["output_tokens"] == 48


def result(**fields: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": False} | fields


def test_totals_that_go_over_the_process_are_not_added_up_twice() -> None:
    read = Outcome()
    read.take(result(total_cost_usd=0.1))
    read.take(result(total_cost_usd=0.3))
    assert read.cost_usd == pytest.approx(0.3)


def test_totals_that_go_over_the_session_are_not_this_turns_cost() -> None:
    read = Outcome()
    read.take(result(total_cost_usd=9.1, model_usage_since_last_result={"a": {"costUSD": 0.1}}))
    read.take(result(total_cost_usd=9.3, model_usage_since_last_result={"a": {"costUSD": 0.1}, "b": {"costUSD": 0.1}}))
    assert read.cost_usd == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("status", "code"), [(529, "overloaded"), (503, "overloaded"), (400, "refused"), (404, "no_model")]
)
def test_a_status_counts_where_the_api_said_no_word_that_we_know(status: int, code: str) -> None:
    read = Outcome()
    read.take({"type": "assistant", "error": "unknown", "message": {}})
    read.take(result(is_error=True, api_error_status=status))
    assert read.code() == code


def test_an_unknown_session_is_no_failure_of_the_turn() -> None:
    read = Outcome()
    read.take(
        result(subtype="error_during_execution", is_error=True, errors=["No conversation found with session ID: x"])
    )
    assert read.lost_session


def test_a_hive_without_its_tools_is_not_connected() -> None:
    read = Outcome()
    servers = [{"name": "hive", "status": "connected"}]
    read.take({"type": "system", "subtype": "init", "mcp_servers": servers, "tools": ["Bash"]})
    assert read.mcp == "without its tools"
    read.take({"type": "system", "subtype": "init", "mcp_servers": servers, "tools": ["mcp__hive__send"]})
    assert read.mcp == "connected"


def test_what_is_not_known_yet_is_passed_over() -> None:
    read = Outcome()
    for line in ({}, {"type": "brand_new"}, {"type": "system"}, {"type": "rate_limit_event"}, {"type": "assistant"}):
        read.take(line)
    assert read.code() == "crashed"
