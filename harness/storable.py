"""What a program printed, made into what every database of the hive takes: no NUL, no lone surrogate, not too long."""

import json
import math
from typing import Any

from agents.redact import redacted

# A row and its envelope fit into one line of the wire.
ROW = 200 * 1024
# Strings are cut to the first of these lengths with which the whole fits.
LENGTHS = (65536, 16384, 4096, 1024, 128)
DEEPEST = 100


def storable(value: Any) -> Any:
    """The value without what SQLite or PostgreSQL would refuse."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # What Python makes of 1e999; JSON has no word for it.
        return str(value)
    return value


def payload(line: dict[str, Any]) -> dict[str, Any]:
    """An event's payload: the line itself or, when it is too long, its head with `cut`, the bytes it had."""
    if depth(line) > DEEPEST:
        return {"type": str(line.get("type"))[:40], "head": "(nested too deeply to be kept)", "cut": 0}
    # Before it is cut: half a key is not known for one.
    line = redacted(storable(line))
    if (bytes_ := size(line)) <= ROW:
        return line
    for length in LENGTHS:
        if size(shorter := shortened(line, length)) <= ROW:
            return shorter | {"cut": bytes_}
    return {"type": str(line.get("type"))[:40], "head": json.dumps(line)[: ROW // 4], "cut": bytes_}


def size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def shortened(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, dict):
        return {key: shortened(item, length) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item, length) for item in value]
    return value


def depth(value: Any) -> int:
    """How deep lists and objects are nested, without recursion: the value may be hostile."""
    level, deep = [value], 0
    while level:
        deep += 1
        level = [item for outer in level for item in _inner(outer)]
        if deep > DEEPEST:
            break
    return deep


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
