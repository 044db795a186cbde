"""Lines that come close to what the wire takes: real requests with a value, a byte or a key gone wrong, by a seed."""

import json
import random
from collections.abc import Iterator
from typing import Any

TURN = {"id": "turn-12345678", "number": 1, "started_at": "2026-01-01T00:00:00Z", "outcome": "ok"}
EVENT = {"seq": 1, "turn": None, "at": "2026-01-01T00:00:00Z", "kind": "state", "payload": {"state": "idle"}}
# No wait is longer than a moment, and no name is an agent's, so that nothing takes long and nothing starts.
PARAMS: dict[str, dict[str, Any]] = {
    "send": {"to": "operator", "body": "hi", "cid": "cid-00000001", "reply_to": 1, "turn": "turn-12345678"},
    "recv": {"turn": "turn-12345678", "wait": 0.01, "lease": 90, "key": "key-00000001"},
    "ack": {"turn": TURN},
    "release": {"turn": TURN, "how": "retry", "reason": "r"},
    "renew": {"turn": "turn-12345678", "lease": 90, "wait": 0.01},
    "events": {"rows": [EVENT], "turns": [TURN]},
    "hello": {"harness": "h-12345678", "cli_version": "2.1.330", "seq": 0},
    "why": {},
    "request_spawn": {"name": "scout", "why": "w", "config": {"model": "m", "tools": ["Read"]}, "cid": "cid-00000002"},
    "request_apply_commit": {"agent": "nobody", "sha": "0" * 40, "why": "w"},
    "kill": {"name": "nobody"},
    "start": {"name": "nobody"},
    "restart": {"name": "nobody"},
    "list_agents": {},
    "tools/call": {
        "name": "send",
        "arguments": {"to": "operator", "body": "x"},
        "_meta": {"hive/turn": "turn-12345678"},
    },
    "tools/list": {"cursor": "x"},
    "ping": {},
    "approve": {"id": 1, "sha256": "0" * 64},
    "notifications/cancelled": {"requestId": 1},
}
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**53 + 1, 2**63, -(2**64), 10**400, 1e308, 0.1, "", "x" * 5000, "\x00", "\ud800", "\u202e\x1b[2J",
    [], {}, [[]], {"": {}}, "operator", "hive", "../../etc/passwd", "2026-13-45T99:99:99Z", "9999-12-31T23:59:59.999999+23:59",
    "0001-01-01T00:00:00-23:59", {"state": "no"}, {"state": "idle", "until": "0001-01-01T00:00:00+14:00"}, {"state": ["idle"]},
)  # fmt: skip
RAW = (
    b"NaN", b"-Infinity", b"1e999", b"[" * 300 + b"]" * 300, b'{"a":1,"a":2}', b'"\\ud800"', b'"\\u0000"', b"\xff\xfe",
    b"9" * 5000, b"01", b"'x'", b"{}{}", b'{"a":' * 120 + b"1" + b"}" * 120,
)  # fmt: skip


def lines(seed: int, count: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for number in range(count):
        yield HOW[chance.randrange(len(HOW))](chance, number).replace(b"\n", b" ") or b" "


def request(chance: random.Random, number: int) -> dict[str, Any]:
    method = chance.choice(list(PARAMS))
    params = json.loads(json.dumps(PARAMS[method]))
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def wrong_value(chance: random.Random, number: int) -> bytes:
    message = request(chance, number)
    place, key = chance.choice(list(places(message)))
    place[key] = chance.choice(VALUES)
    return json.dumps(message).encode()


def wrong_keys(chance: random.Random, number: int) -> bytes:
    message = request(chance, number)
    place, key = chance.choice(list(places(message)))
    value = place.pop(key)
    if isinstance(place, dict) and chance.random() < 0.5:
        place[chance.choice(("caller", "from", "sender", "", "x" * 300, "\ud83d"))] = value
    return json.dumps(message).encode()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of the message with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def wrong_json(chance: random.Random, number: int) -> bytes:
    message = request(chance, number)
    place, key = chance.choice(list(places(message)))
    place[key] = "HERE"
    return json.dumps(message).encode().replace(b'"HERE"', chance.choice(RAW))


def wrong_bytes(chance: random.Random, number: int) -> bytes:
    line = bytearray(json.dumps(request(chance, number)).encode())
    for _ in range(chance.randint(1, 4)):
        line[chance.randrange(len(line))] = chance.randrange(256)
    return bytes(line[: chance.randint(1, len(line))] if chance.random() < 0.3 else line)


def noise(chance: random.Random, number: int) -> bytes:
    return chance.randbytes(chance.randint(1, 200))


HOW = (wrong_value, wrong_value, wrong_value, wrong_keys, wrong_keys, wrong_json, wrong_bytes, wrong_bytes, noise)
