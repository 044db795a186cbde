"""A reply of the Messages API: as one JSON message, and as the server-sent events it is streamed in."""

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from hyperhive.demo.rules import Block, Error, Rule, Text, Think

USAGE = {"input_tokens": 100, "output_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
# Characters per delta: small enough that a reply is seen growing.
CHUNK = 24


def message(rule: Rule, blocks: Sequence[Block], model: str) -> dict[str, Any]:
    content = [_content(block) for block in blocks]
    asks = any(block["type"] == "tool_use" for block in content)
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": rule.stop_reason or ("tool_use" if asks else "end_turn"),
        "stop_sequence": None,
        "usage": USAGE | rule.usage,
    }


def error(reply: Error) -> dict[str, Any]:
    return {"type": "error", "error": {"type": reply.kind, "message": reply.message}, "request_id": "req_scripted"}


def events(whole: dict[str, Any]) -> Iterator[bytes]:
    """The events that a message is streamed in, each ready to be written."""
    opened = {"content": [], "stop_reason": None, "usage": whole["usage"] | {"output_tokens": 1}}
    yield _event("message_start", message=whole | opened)
    for index, block in enumerate(whole["content"]):
        empty, deltas = _parts(block)
        yield _event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": whole["usage"]["output_tokens"]})
    yield _event("message_stop")


def _content(block: Block) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text}
    if isinstance(block, Think):
        return {"type": "thinking", "thinking": block.text, "signature": "c2NyaXB0ZWQ="}
    return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": block.name, "input": block.input}


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it starts, and what is then added to it."""
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": part} for part in _chunks(block["text"])]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": part} for part in _chunks(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*thoughts, signed]
    parts = _chunks(json.dumps(block["input"]))
    return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _chunks(text: str) -> list[str]:
    return [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | data)}\n\n".encode()
