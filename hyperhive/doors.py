"""The sockets and ports that stand open: one for the operator, and for each agent its verbs, its way out and its page."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

from django.conf import settings

from agents.models import Event
from broker import wire
from broker.events import Subscription
from broker.later import Later
from broker.models import OPERATOR
from broker.watch import Listener
from lifecycle import egress, paths, safe_fs
from lifecycle.models import Container

from .caller import Caller, writer
from .tools import session
from .verbs import call

log = logging.getLogger("hive.doors")

OPERATOR_CONNECTIONS = 256
NUDGE = 30.0
# What a door depends on, and rows that are fetched at once.
COLUMNS, ROWS = ("name", "role", "driver", "uid", "port", "config"), 100


class Who(NamedTuple):
    """What a door depends on: changed, it is another door."""

    name: str
    role: str
    uid: int
    port: int | None
    allow: tuple[str, ...]


class Doors:
    def __init__(self, open_page: Callable[[int], Awaitable[Any]]):
        self.open_page = open_page
        self.operator: Listener | None = None
        self.agents: dict[Who, tuple[Listener, Listener]] = {}
        self.pages: dict[Who, Any] = {}

    async def open_operator(self) -> None:
        path = settings.HIVE_RUNTIME_DIR / "host.sock"
        caller = Caller(OPERATOR, "operator", "the command line")
        self.operator = await wire.listen(
            path,
            _verbs(caller),
            session=MethodType(session, caller),
            uids=(0, os.geteuid()),
            connections=OPERATOR_CONNECTIONS,
            at_once=OPERATOR_CONNECTIONS,
        )

    async def keep(self) -> None:
        """Open doors as agents come, close them as they go."""
        with Subscription("containers") as containers:
            while True:
                await self.sync()
                await containers.wait(NUDGE)

    async def sync(self) -> None:
        gone, come = await asyncio.to_thread(_differences, frozenset(self.agents))
        for who in gone:
            self._close(who)
        for who in come:
            await self._open(who)

    async def _open(self, who: Who) -> None:
        directory = paths.socket_dir(who.name, who.role)
        await asyncio.to_thread(safe_fs.give, directory, os.geteuid(), 0o711)
        caller = Caller(who.name, who.role, f"the socket of {who.name}")
        # The agent's own user, and the host's root, which could do as it likes anyway.
        uids = who.uid, os.geteuid()
        try:
            verbs = await wire.listen(
                directory / "mcp.sock", _verbs(caller), session=MethodType(session, caller), uids=uids, gid=who.uid
            )
            way_out = await egress.serve(
                directory / "egress.sock", who.name, who.allow, gid=who.uid, tell=MethodType(_refused, who.name)
            )
        except OSError as error:
            log.error("the sockets of %s cannot be opened: %s", who.name, error)
            return
        self.agents[who] = verbs, way_out
        if who.port:
            await self._open_page(who)

    async def _open_page(self, who: Who) -> None:
        try:
            self.pages[who] = await self.open_page(who.port or 0)
        except Exception as error:  # Twisted wraps what went wrong; the page is on the dashboard's port all the same
            log.warning("port %s cannot show %s (%s): its page is /agents/%s/", who.port, who.name, error, who.name)

    def _close(self, who: Who) -> None:
        for server in self.agents.pop(who):
            server.close()
        if page := self.pages.pop(who, None):
            page.stopListening()

    async def close(self) -> None:
        for who in list(self.agents):
            self._close(who)
        if self.operator:
            self.operator.close()


def _differences(there: frozenset[Who]) -> tuple[set[Who], list[Who]]:
    """Whose doors are to be closed, and whose to be opened. Ten thousand rows are looked at one by one, and none is kept."""
    gone, come = set(there), []
    lists: dict[tuple[str, ...], tuple[str, ...]] = {}  # most have the same, which is kept once
    rows = Container.objects.exclude(desired=Container.Desired.DESTROYED).only(*COLUMNS)
    for row in rows.order_by().iterator(chunk_size=ROWS):
        allow = tuple(row.egress)
        who = Who(row.name, row.role, row.host_uid, row.port, lists.setdefault(allow, allow))
        gone.discard(who) if who in there else come.append(who)
    return gone, come


def _refused(agent: str, what: dict[str, Any]) -> None:
    """Of the way out, for the agent's page. Nobody waits for it: the agent has its answer already."""
    writer.write(partial(Event.of_host, agent, "egress", what)).add_done_callback(partial(_recorded, agent))


def _recorded(agent: str, done: Later) -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("a refusal of %s could not be recorded: %s", agent, error)


def _verbs(caller: Caller) -> wire.Verb:
    # A bound method takes a third of what a closure or a partial does, and there are ten thousand.
    return MethodType(_called, caller)


def _called(caller: Caller, peer: wire.Peer, method: str, params: dict[str, Any]) -> Awaitable[Any]:
    return call(caller.of(peer), method, params)
