"""The harness as a process: what it opens at its start, and how it ends.

claude --stdio--> shim --> relay --> RUN/mcp.sock       claude --http--> bridge --> RUN/egress.sock
"""

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from broker.writer import Writer

from . import bridge, diary, leftovers
from .config import Config
from .host import Host
from .journal import Journal
from .login import Login
from .relay import Relay
from .turns import Turns

# Seconds from SIGTERM: for the turn to end and the host to hear of it; then for the last events.
LAST_TURN, LAST_EVENTS = 6.0, 1.0


async def serve() -> None:
    """Run turns until SIGTERM."""
    config = Config.read()
    leftovers.adopt()
    await leftovers.sweep(str(config.journal))
    async with _opened(config) as (turns, journal, host):
        replaying = asyncio.create_task(journal.replay(host))
        looping = asyncio.create_task(turns.loop())
        overdue = asyncio.create_task(_overdue(turns))
        login = asyncio.create_task(Login(host, turns.calm, turns.port).keep())
        try:
            done, _ = await asyncio.wait({replaying, looping, overdue}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await _last_events(journal)
        finally:
            for task in (replaying, looping, overdue, login):
                task.cancel()
            await asyncio.gather(replaying, looping, overdue, login, return_exceptions=True)


@contextlib.asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[tuple[Turns, Journal, Host]]:
    """Everything that has to be closed again."""
    folder = Path(tempfile.mkdtemp(prefix="hive-", dir=config.base["TMPDIR"]))
    host, relay, writer = Host(config.run / "mcp.sock"), Relay(config.run / "mcp.sock"), Writer()
    writer.start()
    shims = await relay.listen(folder / "relay.sock")
    way_out, port = await bridge.listen(config.run / "egress.sock")
    journal = Journal(config.name, writer)
    turns = Turns(config, journal, host, relay, folder, port)
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, turns.stop)
    try:
        yield turns, journal, host
    finally:
        shims.close()
        way_out.close()
        await host.close()
        writer.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _overdue(turns: Turns) -> None:
    """Done when the harness has been stopping for too long: the journal tells the rest at the next start."""
    await turns.calm.stopping.wait()
    await asyncio.sleep(LAST_TURN)


async def _last_events(journal: Journal) -> None:
    newest = await journal.writer.write(lambda: diary.newest_event(journal.agent))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_EVENTS):
            while journal.heard < newest:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
