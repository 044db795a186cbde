"""What an event looks like: one line with a label, and what is behind it. Payloads come from agents: any shape is shown."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from broker.clean import clean

from .models import STATES, Event

TEXT, DETAIL, LABEL = 400, 4000, 40


class Line(NamedTuple):
    """`look` is the style's class; `detail` is folded away, '' when the text says it all."""

    look: str
    label: str
    text: str
    detail: str = ""


def line(event: Event) -> Line:
    payload = event.payload if isinstance(event.payload, dict) else {"payload": event.payload}
    look, label, text, detail = KINDS.get(event.kind, _unknown)(payload)
    return Line(look, cut(label or event.kind, LABEL), cut(text, TEXT), cut(detail, DETAIL))


def cut(text: str, most: int) -> str:
    text = text.strip()
    rest = len(text) - most
    return clean(text if rest <= 0 else f"{text[:most]} … {rest} more characters")


def at(payload: Any, *path: str) -> Any:
    """What lies at that path, None when there is no such path."""
    for name in path:
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload


def said(value: Any) -> str:
    """Any value as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def folded(look: str, label: str, text: str) -> Line:
    """The first line, and the whole behind it where there is more."""
    first, _, rest = text.strip().partition("\n")
    return Line(look, label, first, text if rest or len(first) > TEXT else "")


# ---- claude's own lines -----------------------------------------------------------------------------------------------


def _blocks(payload: dict) -> Line:
    """`assistant` and `user` carry a message of content blocks, in practice one each."""
    content = at(payload, "message", "content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    lines = [BLOCKS.get(said(at(block, "type")), _block_unknown)(block) for block in blocks] or [Line("", "", "")]
    if payload.get("error"):
        return Line("err", said(payload["error"]), lines[0].text, lines[0].detail)
    if len(lines) == 1:
        return lines[0]
    return folded(lines[0].look, lines[0].label, "\n".join(one.detail or one.text for one in lines))


def _told(payload: dict) -> Line:
    """What claude was given: tool results, and what the CLI said to it."""
    given = _blocks(payload)
    return given._replace(look="", label="told") if given.look == "text" else given


def _tool_use(block: dict) -> Line:
    name, given = said(at(block, "name")).removeprefix("mcp__hive__"), at(block, "input")
    for key in ("command", "file_path", "pattern", "path", "url"):
        if text := said(at(given, key)):
            return folded("tool", name, text)
    if to := said(at(given, "to")):
        return folded("tool", name, f"→ {to}: {said(at(given, 'body'))}")
    return folded("tool", name, said(given))


def _tool_result(block: dict) -> Line:
    content = at(block, "content")
    if isinstance(content, list):
        content = "\n".join(said(at(part, "text") or part) for part in content)
    failed = bool(at(block, "is_error"))
    return folded("err" if failed else "result", "error" if failed else "result", said(content) or "(nothing)")


def _block_unknown(block: Any) -> Line:
    return folded("", said(at(block, "type")), said(block))


BLOCKS: dict[str, Callable[[Any], Line]] = {
    "text": lambda block: Line("text", "text", said(at(block, "text"))),
    "thinking": lambda block: folded("", "thinks", said(at(block, "thinking")) or "…"),
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}


def _result(payload: dict) -> Line:
    text = said(payload.get("result") or payload.get("errors") or payload.get("subtype"))
    return folded("err", "failed", text) if payload.get("is_error") else folded("done", "done", text)


def _system(payload: dict) -> Line:
    subtype = said(payload.get("subtype"))
    if subtype == "init":
        words = (
            payload.get("model"),
            payload.get("claude_code_version"),
            f"session {said(payload.get('session_id'))[:8]}",
        )
        return Line("", "init", " · ".join(said(word) for word in words if word))
    if subtype == "api_retry":
        tries = f"attempt {said(payload.get('attempt'))} of {said(payload.get('max_retries'))}"
        return Line("err", "retry", f"{tries}: {said(payload.get('error') or payload.get('error_status'))}")
    rest = {name: value for name, value in payload.items() if name not in BORING}
    return folded("err" if subtype == "permission_denied" else "", subtype, said(payload.get("message") or rest or ""))


BORING = {"type", "subtype", "session_id", "uuid", "parent_tool_use_id", "timestamp"}


# ---- the harness's own ------------------------------------------------------------------------------------------------


def _state(payload: dict) -> Line:
    state = said(payload.get("state"))
    why = f" · {said(payload.get('why'))}" if payload.get("why") else ""
    return Line("err" if state in ("failing", "login") else "", "state", f"{STATES.get(state, '')} {state}{why}")


def _wake(payload: dict) -> Line:
    ids = payload.get("messages") or payload.get("ids") or payload.get("message")
    ids = ", ".join(said(id_) for id_ in ids) if isinstance(ids, list) else said(ids)
    again = f", attempt {said(payload['attempt'])}" if payload.get("attempt") not in (None, 1) else ""
    detail = said(payload.get("header") or payload.get("prompt"))
    return Line("wake", "wake", f"message {ids} from {said(payload.get('from'))}{again}", detail)


def _turn(payload: dict) -> Line:
    number = said(payload.get("number"))
    if payload.get("phase") == "start":
        return Line("turn", "turn", f"turn {number} begins")
    outcome = said(payload.get("outcome"))
    error = f": {said(payload['error'])}" if payload.get("error") else ""
    return Line("done" if outcome == "ok" else "err", "turn", f"turn {number} ended {outcome}{error}")


def _gap(payload: dict) -> Line:
    if moved := payload.get("moved"):
        return Line(
            "gap",
            "gap",
            f"{said(moved)} older events were moved to files, the newest of them {said(payload.get('file'))}",
        )
    return Line("gap", "gap", f"{said(payload.get('skipped'))} events were lost before they were stored")


def _unknown(payload: dict) -> Line:
    return folded("", "", said({name: value for name, value in payload.items() if name not in BORING}))


KINDS: dict[str, Callable[[dict], Line]] = {
    "assistant": _blocks,
    "user": _told,
    "result": _result,
    "system": _system,
    "state": _state,
    "wake": _wake,
    "turn": _turn,
    "log": lambda payload: folded("log", "log", said(payload.get("text"))),
    "egress": lambda payload: folded("err", "refused", said(payload.get("text"))),
    "budget": lambda payload: folded("err", "budget", said(payload.get("text"))),
    "gap": _gap,
}
