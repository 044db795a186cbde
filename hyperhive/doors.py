"""The sockets and ports that stand open: one for the operator, and for each agent its verbs, its way out and its page."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
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
            session=partial(session, caller),
            uids=frozenset({0, os.geteuid()}),
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
        wanted = await asyncio.to_thread(_wanted)
        for who in set(self.agents) - wanted:
            self._close(who)
        for who in wanted - set(self.agents):
            await self._open(who)

    async def _open(self, who: Who) -> None:
        directory = paths.socket_dir(who.name, who.role)
        await asyncio.to_thread(safe_fs.give, directory, os.geteuid(), 0o711)
        caller = Caller(who.name, who.role, f"the socket of {who.name}")
        # The agent's own user, and the host's root, which could do as it likes anyway.
        uids = frozenset({who.uid, os.geteuid()})
        try:
            verbs = await wire.listen(
                directory / "mcp.sock", _verbs(caller), session=partial(session, caller), uids=uids, gid=who.uid
            )
            way_out = await egress.serve(
                directory / "egress.sock", who.name, who.allow, gid=who.uid, tell=partial(_refused, who.name)
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


def _wanted() -> set[Who]:
    rows = Container.objects.exclude(desired=Container.Desired.DESTROYED).iterator()
    return {Who(row.name, row.role, row.host_uid, row.port, tuple(row.egress)) for row in rows}


def _refused(agent: str, what: dict[str, Any]) -> None:
    """Of the way out, for the agent's page. Nobody waits for it: the agent has its answer already."""
    writer.write(partial(Event.of_host, agent, "egress", what)).add_done_callback(partial(_recorded, agent))


def _recorded(agent: str, done: Later) -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("a refusal of %s could not be recorded: %s", agent, error)


def _verbs(caller: Caller) -> wire.Verb:
    return lambda peer, method, params: call(caller.of(peer), method, params)
