"""The same verbs as MCP tools, on the same sockets: after `initialize` a connection is an MCP session.

MCP's stdio framing is newline-delimited JSON-RPC 2.0, which our wire is too, so any MCP client works:
`socat - UNIX-CONNECT:…/mcp.sock`.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

from broker.ids import new_id
from broker.share import Share
from broker.wire import DRAIN, IN_FLIGHT, LINE_TIME, Peer, Refused, encode

from . import __version__
from .caller import Caller
from .verbs import call

# Seconds of the loop that the `mcp` package takes for a message, its answer and the models of both.
COST = 0.001

log = logging.getLogger("hive.tools")

# The CLI replaces a result of 51,000 characters by a preview: a body is cut well below, with the way to read the rest.
RESULT = 30_000
SESSION_QUEUE = 16


class Tool(NamedTuple):
    description: str
    params: dict[str, dict[str, Any]]
    required: tuple[str, ...] = ()


TEXT = {"type": "string"}
AGENT_NAME = {"type": "string", "description": "An agent's name, as list_agents or a message shows it."}

SEND = Tool(
    "Send a message to another agent, to the manager, or to `operator` (the human). It is durable: they read it when they wake.",
    {
        "to": TEXT | {"description": "The recipient's name, or `operator`."},
        "body": TEXT | {"description": "Plain text, at most 64 KiB; put more into a file under /state and say where."},
        "reply_to": {"type": "integer", "description": "The id of the message this answers."},
    },
    ("to", "body"),
)
RECV = Tool(
    "Read the next message that waits for you, within this turn. Empty when none came within `wait` seconds.",
    {"wait": {"type": "number", "minimum": 0, "maximum": 60, "description": "Seconds to wait for one; 0 looks once."}},
)
WHY = Tool("Why you are in the state the hive shows for you.", {})
REQUEST_SPAWN = Tool(
    "Ask the operator for a new agent. It waits for their yes; the outcome reaches you as a message from `hive`.",
    {
        "name": TEXT | {"description": "1 to 9 characters: a-z, 0-9 and inner dashes, a letter first."},
        "why": TEXT | {"description": "What it is for: the operator decides by this sentence."},
        "config": {"type": "object", "description": "Settings such as model, prompt, tools, egress."},
    },
    ("name", "why"),
)
REQUEST_APPLY_COMMIT = Tool(
    "Ask the operator to apply what you committed to an agent's configuration. It waits for their yes; the outcome reaches "
    "you as a message from `hive`.",
    {
        "agent": AGENT_NAME,
        "sha": TEXT | {"description": "The full commit id, 40 characters, as `git rev-parse HEAD` prints it."},
        "why": TEXT
        | {"description": "What the change is for: the operator decides by this sentence and the difference."},
    },
    ("agent", "sha", "why"),
)

TOOLS: dict[str, dict[str, Tool]] = {
    "agent": {"send": SEND, "recv": RECV, "why": WHY},
}
TOOLS["manager"] = TOOLS["agent"] | {
    "request_spawn": REQUEST_SPAWN,
    "request_apply_commit": REQUEST_APPLY_COMMIT,
    "kill": Tool("Stop an agent at once; its messages and notes stay.", {"name": AGENT_NAME}, ("name",)),
    "start": Tool("Start a stopped agent.", {"name": AGENT_NAME}, ("name",)),
    "restart": Tool("Stop an agent in good order and start it again.", {"name": AGENT_NAME}, ("name",)),
    "list_agents": Tool("Every agent, its state, and how many messages wait for it.", {}),
}
TOOLS["operator"] = {"send": SEND} | {
    name: Tool(description, {})
    for name, description in {"list": "Every agent.", "approvals": "What waits for a yes."}.items()
}


async def session(
    caller: Caller, peer: Peer, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, share: Share
) -> None:
    """Speak MCP with one connection until it ends; `first` is its `initialize` line, read already."""
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](SESSION_QUEUE)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](SESSION_QUEUE)
    asked = Asked()
    async with anyio.create_task_group() as group:
        group.start_soon(_read, first, reader, to_server, group.cancel_scope, asked, share)
        group.start_soon(_write, from_server, writer, group.cancel_scope, asked)
        mcp = server(caller, share)
        await mcp.run(incoming, outgoing, mcp.create_initialization_options())
        group.cancel_scope.cancel()


class Asked:
    """The requests of a session that have no answer yet: the server would take any number of them."""

    def __init__(self) -> None:
        self.ids: set[Any] = set()
        self.fewer = asyncio.Event()

    async def note(self, message: Any) -> None:
        """One more, once there is room for it; ValueError for one whose id is under way."""
        if isinstance(message, types.JSONRPCRequest):
            while len(self.ids) >= IN_FLIGHT:
                self.fewer.clear()
                await self.fewer.wait()
            if message.id in self.ids:
                raise ValueError("a request of that id is under way")
            self.ids.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            # It is never answered (mcp's dispatcher).
            self.answered((message.params or {}).get("requestId"))

    def answered(self, id_: Any) -> None:
        if isinstance(id_, str | int):
            self.ids.discard(id_)
        self.fewer.set()


async def _read(
    first: bytes, reader: asyncio.StreamReader, to_server: Any, scope: anyio.CancelScope, asked: Asked, share: Share
) -> None:
    line: bytes | None = first
    async with to_server:
        while line:
            try:
                await share.read_in_turn(line, COST)
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                await asked.note(message)
                await to_server.send(SessionMessage(message))
            except (Refused, ValueError) as error:
                await to_server.send(ValueError(str(error)[:200]))
            line = await _line(reader)
    # Whoever hung up waits for nothing: a `recv` that still polls must claim nothing.
    scope.cancel()


async def _line(reader: asyncio.StreamReader) -> bytes | None:
    """The next line, or None when the client is gone, writes too long a line or too slowly."""
    try:
        first = await reader.readexactly(1)
        async with asyncio.timeout(LINE_TIME):
            return first if first == b"\n" else first + await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError):
        return None


async def _write(from_server: Any, writer: asyncio.StreamWriter, scope: anyio.CancelScope, asked: Asked) -> None:
    async with from_server:
        async for item in from_server:
            message = item.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
            if writer.is_closing():
                scope.cancel()
                return
            writer.write(encode(message))
            asked.answered(message.get("id"))
            try:
                async with asyncio.timeout(DRAIN):
                    await writer.drain()
            except (ConnectionError, TimeoutError):
                scope.cancel()
                return


def server(caller: Caller, share: Share) -> Server:
    tools = TOOLS[caller.role]

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_offer(name, tool) for name, tool in tools.items()])

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            if params.name not in tools:
                raise Refused("unknown_verb", f"There is no tool {params.name[:40]!r}.")
            meta = dict(context.meta or {})
            # A poll needs no place for as long as it waits.
            async with contextlib.nullcontext() if params.name == "recv" else share.place():
                return _said(await _call(caller, params.name, dict(params.arguments or {}), meta))
        except Refused as refusal:
            return _said(str(refusal), error=True)

    return Server("hive", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)


def _offer(name: str, tool: Tool) -> types.Tool:
    schema = {
        "type": "object",
        "properties": tool.params,
        "required": list(tool.required),
        "additionalProperties": False,
    }
    return types.Tool(name=name, description=tool.description, input_schema=schema)


async def _call(caller: Caller, name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> str:
    """One tool call as a verb. The relay's turn and key make a call that is repeated after a restart the same call."""
    if unknown := set(arguments) - set(TOOLS[caller.role][name].params):
        raise Refused("bad_params", f"{name} has no parameter {sorted(unknown)[0][:40]!r}.")
    turn, key = meta.get("hive/turn"), meta.get("hive/key") or new_id()
    return await HOW.get(name, _plainly)(caller, name, arguments, turn, key)


async def _plainly(caller: Caller, name: str, arguments: dict, turn: str | None, key: str) -> str:
    return json.dumps(await call(caller, name, arguments), ensure_ascii=False, indent=1)


async def _send(caller: Caller, name: str, arguments: dict, turn: str | None, key: str) -> str:
    message = await call(caller, "send", arguments | {"cid": key, "turn": turn})
    return f"Sent as message #{message['id']} to {message['recipient']}."


async def _recv(caller: Caller, name: str, arguments: dict, turn: str | None, key: str) -> str:
    if turn is None:
        raise Refused("refused", "Messages are read within a turn: this connection names none.", "no_turn")
    got = await call(caller, "recv", arguments | {"turn": turn, "key": key})
    if not got["messages"]:
        return "No message."
    return "\n\n".join(_message(message) for message in got["messages"])


def _message(message: dict[str, Any]) -> str:
    head = f"message #{message['id']} from {message['sender']} ({message['sender_role']}), attempt {message['attempt']}"
    return f"[{head}]\n{message['body']}"


async def _request(caller: Caller, name: str, arguments: dict, turn: str | None, key: str) -> str:
    approval = await call(caller, name, arguments | {"cid": key})
    words = f"Request #{approval['id']} for {approval['agent']} waits for the operator; the outcome comes as a message."
    return "\n".join([words, *(f"changes: {change}" for change in approval.get("changes", ()))])


HOW: dict[str, Callable[..., Awaitable[str]]] = {
    "send": _send,
    "recv": _recv,
    "request_spawn": _request,
    "request_apply_commit": _request,
}


def _said(text: str, error: bool = False) -> types.CallToolResult:
    if len(text) > RESULT:
        text = text[:RESULT] + f"\n[cut: {len(text) - RESULT} more characters; ask the sender to put it into a file]"
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=error)
