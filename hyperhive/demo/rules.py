"""The script of a scripted model: rules as data. Each says which request it answers, and with what."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# What the CLI itself puts into a user's message: nobody's words.
REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Text:
    text: Any


@dataclass(frozen=True)
class Think:
    text: Any


@dataclass(frozen=True)
class Use:
    """A call of the tool `name`."""

    name: str
    input: Any = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """What the API answers instead of a message; `kind` is its `error.type`."""

    status: int
    kind: str = "api_error"
    message: str = "scripted"
    headers: dict[str, str] = field(default_factory=dict)


Block = Text | Think | Use


@dataclass
class Request:
    """One `POST /v1/messages` as the rules see it."""

    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    at: float = 0.0

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body.get("messages") or []

    @property
    def system(self) -> str:
        return _text(self.body.get("system") or "")

    @property
    def tools(self) -> list[str]:
        return [tool.get("name", "") for tool in self.body.get("tools") or []]

    @property
    def user(self) -> str:
        """The newest words of a user, without what the CLI added; not the whole prompt."""
        said = (REMINDER.sub("", _text(message["content"])).strip() for message in reversed(self._of("user")))
        return next(filter(None, said), "")

    @property
    def results(self) -> list[dict[str, Any]]:
        """What the tools answered since the model last spoke."""
        users = self._of("user")
        return [block for block in _blocks(users[-1]["content"]) if block.get("type") == "tool_result"] if users else []

    @property
    def result(self) -> str:
        return "\n".join(_text(block.get("content") or "") for block in self.results)

    @property
    def used(self) -> list[str]:
        """The tools whose answers these are."""
        blocks = [block for message in self._of("assistant") for block in _blocks(message["content"])]
        names = {block["id"]: block["name"] for block in blocks if block.get("type") == "tool_use"}
        return [names.get(block.get("tool_use_id"), "") for block in self.results]

    def _of(self, role: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("role") == role]


@dataclass
class Rule:
    """Answers the requests that all its conditions fit. Patterns are searched for; None fits anything.

    A rule with `user` alone is for a fresh prompt; with `used` or `result` it is for what follows a tool call.
    Strings in the reply may hold `{name}` of a pattern's named group, or be a callable of the request.
    """

    reply: str | Error | Block | Sequence[Block] | Callable[[Request], Any]
    user: str | None = None
    result: str | None = None
    used: str | None = None  # the tool just used, by its full name
    offers: str | None = None  # a tool that the request offers, by its full name
    model: str | None = None
    system: str | None = None
    times: int | None = None  # how often it applies; None: always
    # ---- how the reply comes: seconds, and numbers of stream events
    before: float = 0.0
    pace: float = 0.0
    cut: int | None = None  # the connection breaks after so many events
    hang: int | None = None  # silence after so many events
    usage: dict[str, int] = field(default_factory=dict)
    stop_reason: str = ""

    def fits(self, request: Request) -> dict[str, str] | None:
        """The named groups of its patterns when it fits the request, else None."""
        if self.times == 0 or not self._follows(request):
            return None
        if self.offers and self.offers not in request.tools:
            return None
        groups: dict[str, str] = {}
        for name in ("user", "result", "model", "system"):
            pattern = getattr(self, name)
            found = re.search(pattern, getattr(request, name), re.DOTALL) if pattern is not None else None
            if pattern is not None and not found:
                return None
            groups |= {key: value or "" for key, value in found.groupdict().items()} if found else {}
        return groups

    def _follows(self, request: Request) -> bool:
        if self.used is not None:
            return self.used in request.used
        fresh_only = self.user is not None and self.result is None
        return not (fresh_only and request.results)


def choose(rules: Sequence[Rule], request: Request) -> tuple[Rule, Error | list[Block]]:
    """The first rule that fits, one of its `times` spent, and its reply filled in."""
    for rule in rules:
        if (groups := rule.fits(request)) is not None:
            if rule.times is not None:
                rule.times -= 1
            return rule, _reply(rule.reply, request, groups)
    words = f"(The scripted model has no line for this: {request.user[:200]!r}.)"
    return Rule(words), [Text(words)]


def _reply(reply: Any, request: Request, groups: dict[str, str]) -> Error | list[Block]:
    reply = reply(request) if callable(reply) else reply
    if isinstance(reply, Error):
        return reply
    blocks = [reply] if isinstance(reply, str | Text | Think | Use) else list(reply)
    return [_filled_block(block, request, groups) for block in blocks]


def _filled_block(block: str | Block, request: Request, groups: dict[str, str]) -> Block:
    if isinstance(block, str):
        return Text(fill(block, request, groups))
    if isinstance(block, Use):
        return Use(block.name, fill(block.input, request, groups))
    return type(block)(fill(block.text, request, groups))


def fill(value: Any, request: Request, groups: dict[str, str]) -> Any:
    """`{name}` of a known group is replaced; other braces stay, for they may be JSON or shell."""
    if callable(value):
        return value(request)
    if isinstance(value, dict):
        return {key: fill(inner, request, groups) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, request, groups) for inner in value]
    if isinstance(value, str):
        return PLACE.sub(lambda place: groups.get(place[1], place[0]), value)
    return value


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: Any) -> str:
    return "\n".join(block["text"] for block in _blocks(content) if block.get("type") == "text")
