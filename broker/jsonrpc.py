"""One line of the wire: a JSON-RPC 2.0 object, read as strictly as a hostile peer deserves. It knows no Django."""

import json
import re
from typing import Any

# What went wrong -> JSON-RPC 2.0 error code (the first five are the standard's, section 5.1).
CODES = {
    "parse_error": -32700,
    "invalid_request": -32600,
    "unknown_verb": -32601,
    "bad_params": -32602,
    "internal": -32603,
    "refused": -32001,
    "not_found": -32004,
    "conflict": -32005,
    "timed_out": -32006,
    "busy": -32007,
}
KINDS = {code: kind for kind, code in CODES.items()}

# Bytes of a line and of a message's body; seconds that a long poll may last, and so the most a client waits beyond its own
# patience.
LINE, BODY, POLL = 256 * 1024, 64 * 1024, 60.0

# How deep lists and objects may stand in each other: whatever reads or stores a line comes back from there.
DEEPEST = 128

TOO_DEEP = f"The line is nested too deeply: {DEEPEST} levels are taken."

ESCAPED_SURROGATE_OR_NUL = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")


class Refused(Exception):
    """A verb says no: `kind` is a key of CODES, `word` a stable word for programs, the text a sentence for people."""

    def __init__(self, kind: str, sentence: str, word: str = ""):
        super().__init__(sentence)
        self.kind, self.word = kind, word or kind

    def as_error(self) -> dict[str, Any]:
        return {"code": CODES[self.kind], "message": str(self), "data": {"code": self.word}}

    @classmethod
    def from_error(cls, error: dict[str, Any]) -> "Refused":
        word = (error.get("data") or {}).get("code", "")
        return cls(KINDS.get(error.get("code", 0), "internal"), error.get("message", "no reason given"), word)


def encode(message: dict[str, Any]) -> bytes:
    return ENCODER.encode(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """One line as an object; Refused('parse_error' | 'invalid_request') for anything a hostile peer may send instead."""
    try:
        message = DECODER.decode(line.decode("utf-8"))
        if line.count(b"[") + line.count(b"{") > DEEPEST:
            _shallow(message)
        if ESCAPED_SURROGATE_OR_NUL.search(line):
            _storable(message)
    except RecursionError:
        raise Refused("parse_error", TOO_DEEP) from None
    except ValueError as error:
        raise Refused("parse_error", f"The line is not strict JSON in UTF-8: {str(error)[:120]}.") from None
    if not isinstance(message, dict):
        raise Refused("invalid_request", "A line must be one JSON object; batches are not taken.")
    return message


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


# Made once: to make them costs as much as to read a short line.
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
DECODER = json.JSONDecoder(object_pairs_hook=_no_doubles, parse_constant=_no_constant)


def _shallow(message: Any) -> None:
    level = [message]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return
    raise Refused("parse_error", TOO_DEEP)


def _storable(message: Any) -> None:
    """SQLite refuses lone surrogates, PostgreSQL refuses NUL: neither may get that far."""
    text = json.dumps(message, ensure_ascii=False)
    text.encode()
    # An escaped backslash before `u0000` is somebody's words about NUL, not NUL.
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("NUL is not taken")
