"""What one run of claude came to, read off its events. Exit codes and subtypes are no contract; these rules are.

Seen with Claude Code 2.1.143 to 2.1.330; their events are in tests/fixtures/claude_events.
"""

from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]

# What the API said of a request that failed (`assistant.error`) -> our code.
API_ERRORS = {
    "authentication_failed": "not_logged_in",
    "rate_limit": "rate_limited",
    "billing_error": "billing",
    "model_not_found": "no_model",
    "invalid_request": "refused",
    "max_output_tokens": "refused",
    "server_error": "api_error",
}
# HTTP statuses: of an API that has too much to do, and of everything for which there is no word above.
OVERLOADED = (503, 529)
STATUSES = {
    400: "refused",
    401: "not_logged_in",
    403: "not_logged_in",
    404: "no_model",
    413: "refused",
    429: "rate_limited",
}
SUBTYPES = {"error_max_budget_usd": "budget", "error_max_turns": "budget"}
REASONS = {"prompt_too_long": "refused", "image_error": "refused", "budget_exhausted": "budget"}
LOST_SESSION = "No conversation found"

# Turn column -> the name claude has for it.
TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}


@dataclass
class Outcome:
    """Fed with every line by `take()`, asked for the verdict by `code()`."""

    session_id: str = ""
    model: str = ""
    cli_version: str = ""
    mcp: str = ""
    api_error: str = ""
    resets_at: float | None = None
    result: Line | None = None
    cost_usd: float = 0.0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOKENS, 0))
    _spent: float = 0.0

    def take(self, line: Line) -> None:
        kind = line.get("type")
        if kind == "system" and line.get("subtype") == "init":
            self._init(line)
        elif kind == "assistant":
            self.api_error = line.get("error") or ""
        elif kind == "rate_limit_event":
            self._limit(line.get("rate_limit_info") or {})
        elif kind == "result":
            self._result(line)

    def code(self) -> str:
        """'ok', or a code of the failure table."""
        if self.result is None:
            return "crashed"
        if not self.result.get("is_error"):
            return "ok"
        subtype, status = self.result.get("subtype", ""), self.result.get("api_error_status") or 0
        if status in OVERLOADED:
            return "overloaded"
        return (
            SUBTYPES.get(subtype)
            or REASONS.get(self.result.get("terminal_reason") or "")
            or API_ERRORS.get(self.api_error)
            or STATUSES.get(status)
            or ("api_error" if subtype == "success" else "crashed")
        )

    def words(self) -> str:
        """What claude said about its failure."""
        if self.result is None:
            return ""
        said = self.result.get("result") or " ".join(str(error) for error in self.result.get("errors") or [])
        return str(said)[:300]

    @property
    def lost_session(self) -> bool:
        """The session we asked to go on with is unknown: nothing was done."""
        return bool(self.result) and not self.session_started and LOST_SESSION in self.words()

    @property
    def session_started(self) -> bool:
        return bool(self.model)

    def _init(self, line: Line) -> None:
        self.session_id = str(line.get("session_id", ""))[:64]
        self.model = str(line.get("model", ""))[:80]
        self.cli_version = str(line.get("claude_code_version", ""))[:40]
        servers = {server.get("name"): server.get("status") for server in line.get("mcp_servers") or []}
        offered = "mcp__hive__send" in (line.get("tools") or [])
        status = servers.get("hive", "missing")
        self.mcp = status if status != "connected" or offered else "without its tools"

    def _limit(self, info: Line) -> None:
        if info.get("status") == "rejected" and isinstance(info.get("resetsAt"), int | float):
            self.resets_at = float(info["resetsAt"])

    def _result(self, line: Line) -> None:
        self.result = line
        self.cost_usd += self._cost(line)
        usage = line.get("usage") or {}
        for column, name in TOKENS.items():
            self.tokens[column] += int(usage.get(name) or 0)

    def _cost(self, line: Line) -> float:
        """What this result adds: the total goes over the process up to 2.1.270, and over the whole session since."""
        models = line.get("model_usage_since_last_result")
        if models is not None:
            return sum(float(model.get("costUSD") or 0) for model in models.values())
        total = float(line.get("total_cost_usd") or 0)
        added, self._spent = max(total - self._spent, 0.0), total
        return added
