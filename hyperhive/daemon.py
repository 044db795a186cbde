"""`hive serve`: the pages, the sockets, the agents and the periodic jobs, in one process on one event loop."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

from daphne.server import Server  # first: it chooses Twisted's reactor, and Twisted does not let us choose twice

# isort: split
from django.conf import settings
from django.db import DatabaseError, connection
from huey.consumer import Consumer
from huey.contrib.djhuey import HUEY
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from agents import archive
from approvals import tasks as _approval_tasks  # noqa: F401 (Huey knows a task once its module is imported)
from approvals.models import Approval
from broker import disk, events
from broker import tasks as broker_tasks
from broker.age import Age
from broker.jobs import Job
from broker.models import HIVE, OPERATOR, Lease, Mailbox
from dashboard import indexing, notices
from lifecycle import cli, drivers, isolation, vitals, work
from lifecycle import tasks as lifecycle_tasks
from lifecycle.models import Container

from . import __version__, asgi, memory
from .caller import Caller, writer
from .collector import settle
from .doors import Doors
from .limits import limit_bodies
from .notify import heartbeat, notify
from .state import CannotStart, open_state
from .verbs import call

log = logging.getLogger("hive")

# Seconds. Leases and exits are looked at this often; a stop takes at most CLOSE, agents that are taken along aside.
LEASES, EXITS, NUDGE, LOOK, DISK, MEMORY = 1.0, 2.0, 60.0, 1.0, 5.0, 60.0
CLOSE = 4.0
# A stop that has not ended by then is stuck: the process says where, and ends all the same.
STUCK = 45.0
# What waits for the operator is gathered so long before it is told.
GATHER = 1.0
REFUSED = 5


def serve(bind: str = "", driver: str = "", trust_agents: bool = False, stop_agents: bool = False) -> int:
    """Run the hive until SIGTERM or SIGINT; the exit code. Agents live on, unless `stop_agents`."""
    memory.one_pool()
    try:
        settings.HIVE_BIND = bind or settings.HIVE_BIND
        host, port = _address(settings.HIVE_BIND)
        if not shutil.which("git"):
            raise CannotStart("There is no git, which keeps the agents' configurations: install it, then start again.")
        lock = open_state()
        _raise_limits()
        _choose_driver(driver, trust_agents or settings.HIVE_TRUST_AGENTS)
        if why := isolation.must_not_listen(settings.HIVE_DRIVER, host):
            raise CannotStart(why, REFUSED)
        _must_be_free(host, port)
    except CannotStart as cannot:
        sys.stderr.write(f"hive: {cannot}\n")
        return cannot.code
    hive = Hive(host, port, stop_agents)
    hive.run()
    _settle()
    os.close(lock)
    return _leave(hive.exit_code)


def _settle() -> None:
    """Leave one whole file, not a file and its log: the last connection would do that, and ours are not all closed."""
    with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1000")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _leave(code: int) -> NoReturn:
    """End now: Python would wait for threads that wait for something slow (a jail, a build), and nothing of theirs is lost."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# Descriptors: two sockets that listen and a connection that waits, for each agent; and what the daemon itself has open.
EACH, OWN = 3, 500


def _raise_limits() -> None:
    """As many open files as the system lets us have, and a word when they are few for the agents there are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    agents, room = Container.objects.exclude(desired=Container.Desired.DESTROYED).count(), (most - OWN) // EACH
    if agents > room:
        log.warning("%d agents may need more than the %d open files of this process: raise `ulimit -Hn`.", agents, most)


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotStart(f"{bind!r} is no address: give HOST:PORT, such as 127.0.0.1:7000.", 2)
    return host.strip("[]"), int(port)


def _must_be_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"{host}:{port} cannot be used ({error.strerror}): stop what holds it, or choose another with --bind."
            ) from None


def _choose_driver(wanted: str, trusted: bool) -> None:
    """The isolation level is said at every start; what only holds off accidents needs --trust-agents."""
    try:
        name = drivers.choose(wanted or settings.HIVE_DRIVER)
    except drivers.DriverError as error:
        raise CannotStart(str(error)) from None
    settings.HIVE_DRIVER = name
    letter, missing = isolation.level(name)
    if isolation.needs_trust(letter) and not trusted:
        raise CannotStart(
            f"Driver {name} gives isolation level {letter}: {missing[0]}. "
            "Start with --trust-agents if you trust every agent with this account.",
            REFUSED,
        )


class Jobs(Consumer):
    """Huey's consumer, in threads of ours: the signals are the daemon's."""

    def _set_signal_handlers(self) -> None:
        pass


class Hive:
    """What runs: started when the loop turns, stopped within seconds."""

    def __init__(self, host: str, port: int, stop_agents: bool):
        self.host, self.port, self.stop_agents = host, port, stop_agents
        self.exit_code = 0
        address = host.replace(":", r"\:")
        limit_bodies()
        self.server = Server(
            asgi.application,
            endpoints=[f"tcp:port={port}:interface={address}"],
            signal_handlers=False,
            http_timeout=60,
            ping_interval=10,
            ping_timeout=10,
            ready_callable=self._start_soon,
        )
        self.doors = Doors(self._open_page)
        # Everything here is periodic, by the minute: looking for work every two seconds is often enough.
        self.jobs = Jobs(HUEY, workers=2, max_delay=2.0, periodic=True, check_worker_health=False)
        self.tasks: list[asyncio.Task] = []

    def run(self) -> None:
        writer.start()
        self.server.run()
        writer.stop()

    def _start_soon(self) -> None:
        self.starting = asyncio.get_event_loop().create_task(self._start())

    async def _start(self) -> None:
        try:
            await self._begin()
        except Exception:  # whatever it was, half a hive must not go on running
            log.exception("the hive could not start")
            self.exit_code = 1
            self.server.stop()

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        events.start(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon)
        await writer.write(_first_rows)
        await self.doors.open_operator()
        await self.doors.sync()
        self._announce(await call(Caller(OPERATOR, "operator", "start"), "link", {}))
        await asyncio.to_thread(work.start)
        self.jobs.start()
        for act in (
            self.doors.keep, self._approvals, self._leases, self._budget, self._exits, self._alive, self._vitals, self._disk,
            self._memory, self._vacuum_at_start, self._update_at_start, self._claude_at_start, self._notices, self._index,
        ):  # fmt: skip
            self.tasks.append(loop.create_task(_surely(act)))
        settle()
        notify("READY=1", f"STATUS=Pages on {settings.HIVE_BIND}.")

    def _announce(self, link: dict[str, Any]) -> None:
        letter, missing = isolation.level(settings.HIVE_DRIVER)
        talk = [
            f"hyperhive {__version__} · driver {settings.HIVE_DRIVER} · isolation level {letter}",
            *(f"  {'still' if letter == 'A' else 'not level A'}: {point}" for point in missing),
        ]
        talk.append("open this link to sign in (once, within ten minutes; `hive link` makes another):")
        sys.stderr.write("\n".join(talk) + "\n")
        sys.stderr.flush()
        sys.stdout.write(link["url"] + "\n")
        sys.stdout.flush()

    # ---- what goes on all the time

    async def _approvals(self) -> None:
        """What was approved waits for its container too: to run no turn, to come up."""
        with events.Subscription("approvals", "containers") as changes:
            while True:
                waiting = await asyncio.to_thread(Approval.carry_out_all)
                await changes.wait(LOOK if waiting else NUDGE)

    async def _notices(self) -> None:
        """Beside all else: a place outside that hangs holds up nothing here."""
        if not notices.targets():
            return
        with events.Subscription("approvals", "containers", "messages") as changes:
            while True:
                pause = await asyncio.to_thread(notices.tell)
                await changes.wait(pause)
                # A burst of changes is one look.
                await asyncio.sleep(GATHER)

    async def _leases(self) -> None:
        while True:
            if await asyncio.to_thread(Lease.any_over):
                await writer.write(Lease.expire)
            await asyncio.sleep(LEASES)

    async def _budget(self) -> None:
        """Events beyond an agent's budget go to files, in small pieces, so that no sender waits for it."""
        with events.Subscription("events") as changes:
            while True:
                for name in await asyncio.to_thread(archive.over_budget):
                    if moved := await asyncio.to_thread(archive.move, name):
                        await writer.write(partial(archive.drop, moved))
                        changes.woken.set()
                await asyncio.sleep(0.05)
                await changes.wait(NUDGE)

    async def _exits(self) -> None:
        while True:
            await asyncio.to_thread(work.tick)
            await asyncio.sleep(EXITS)

    async def _disk(self) -> None:
        while True:
            await asyncio.to_thread(disk.look)
            await asyncio.sleep(DISK)

    async def _memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY)
            await asyncio.to_thread(memory.give_back)

    async def _vitals(self) -> None:
        while True:
            pause = await asyncio.to_thread(vitals.look)
            await asyncio.sleep(pause)

    async def _vacuum_at_start(self) -> None:
        await asyncio.to_thread(broker_tasks.vacuum.call_local)

    async def _update_at_start(self) -> None:
        await asyncio.to_thread(lifecycle_tasks.auto_update.call_local)

    async def _claude_at_start(self) -> None:
        if warning := await asyncio.to_thread(cli.warning):
            log.warning("%s", warning)

    async def _index(self) -> None:
        await indexing.keep_up(writer)

    async def _alive(self) -> None:
        """From the loop itself: were it stuck, systemd would start the hive anew."""
        while seconds := heartbeat():
            notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    def _open_page(self, port: int) -> Awaitable[Any]:
        """One more port that shows an agent's page; resolves to what closes it, fails where the port is taken."""
        address = self.host.replace(":", r"\:")
        listening = serverFromString(reactor, f"tcp:port={port}:interface={address}").listen(self.server.http_factory)
        return listening.asFuture(asyncio.get_running_loop())

    # ---- the end

    def _stop_soon(self) -> None:
        if not getattr(self, "_stopping", None):
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def _stop(self) -> None:
        faulthandler.dump_traceback_later(STUCK, exit=True)
        notify("STOPPING=1")
        log.info("stopping%s", " with all agents" if self.stop_agents else "; agents run on")
        try:
            # Asked to stop in the middle of its start, it would go on starting what was just stopped.
            await asyncio.wait([self.starting], timeout=CLOSE)
            for task in self.tasks:
                task.cancel()
            if self.stop_agents:
                await asyncio.to_thread(work.stop_agents)
            async with asyncio.timeout(CLOSE):
                await self.doors.close()
                self.jobs.stop()
                await asyncio.to_thread(work.stop)
        except TimeoutError:
            log.warning("not everything ended within %.0f s; what is under way is taken up at the next start", CLOSE)
        except Exception:  # whatever it was, a hive that was told to stop stops
            log.exception("the hive did not stop in good order")
        finally:
            self.server.stop()


async def _surely(act: Callable[[], Awaitable[None]]) -> None:
    """What goes on all the time goes on after an error too, which is logged."""
    while True:
        try:
            return await act()
        except Exception:  # the hive outlives any one round of any one job
            log.exception("%s failed and is begun again", getattr(act, "__name__", act))
            await asyncio.sleep(5)


def _first_rows() -> None:
    """The mailboxes that every hive has, and its manager; and how old it is, before anything is delivered."""
    Age.count()
    for name, role in ((OPERATOR, "operator"), (HIVE, "hive")):
        Mailbox.objects.get_or_create(name=name, defaults={"role": role, "open": name == OPERATOR})
    Container.ensure_manager()
    Job.list_all()
