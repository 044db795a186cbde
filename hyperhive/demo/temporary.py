"""A hive of its own in a temporary directory: started for a demonstration, ended with everything that belongs to it."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from broker.wire import Client, Unreachable

PROJECT = Path(__file__).resolve().parents[2]
# Seconds: agents that are taken along have 10 of them each to end their turn.
STOP = 40.0
LOG_END = 2000
# What of the person's own environment says nothing about this hive but is wanted all the same.
KEPT = ("HIVE_CLAUDE", "HIVE_LOG_LEVEL")
STRANGE = ("HIVE_", "ANTHROPIC_", "CLAUDE")


class TemporaryHive:
    """`hive serve` as a child process, and its host.sock. It takes its agents along when it stops."""

    def __init__(self, model_url: str, driver: str = ""):
        # Not TMPDIR: the path of a unix socket has 107 bytes, and the agents' are the longest.
        self.place = Path(tempfile.mkdtemp(prefix="hive-demo-", dir="/tmp"))  # noqa: S108 (0700, and ours alone)
        self.state, self.runtime, self.log = self.place / "state", self.place / "run", self.place / "log"
        self.bind = f"127.0.0.1:{7000 if is_free(7000) else any_free()}"
        self.driver, self.model_url = driver, model_url
        self.client = Client(self.runtime / "host.sock")
        self.daemon: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        argv = [sys.executable, str(PROJECT / "manage.py"), "hive", "serve", "--stop-agents", "--bind", self.bind]
        # What the agents think is our own script, so there is nobody who would have to be kept in.
        argv += ["--trust-agents", *(["--driver", self.driver] if self.driver else [])]
        # Should we be killed ourselves, the kernel stops the daemon for us. In a session of its own no Ctrl-C reaches it.
        leash = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with self.log.open("ab") as log:
            self.daemon = await asyncio.create_subprocess_exec(
                *leash,
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env(),
                start_new_session=True,
            )

    def env(self) -> dict[str, str]:
        """Ours without any hive of the person's own, and without their account: nothing here is to cost anything."""
        plain = {name: value for name, value in os.environ.items() if name in KEPT or not name.startswith(STRANGE)}
        ports = {} if is_free(8000) else {"HIVE_MANAGER_PORT": "", "HIVE_AGENT_PORTS": ""}
        return plain | ports | {
            "DJANGO_SETTINGS_MODULE": "hyperhive.settings",
            "HIVE_STATE_DIR": str(self.state),
            "HIVE_RUNTIME_DIR": str(self.runtime),
            "HIVE_MODEL_URL": self.model_url,
            # Nothing mounted: when it is over, one directory is all that has to go.
            "HIVE_AGENT_DISK_MAX": "0",
        }  # fmt: skip

    @property
    def dead(self) -> bool:
        return self.daemon is not None and self.daemon.returncode is not None

    async def ended(self) -> None:
        if self.daemon:
            await self.daemon.wait()

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            return f"The daemon ended; its last words:\n{self.log.read_text(errors='replace')[-LOG_END:].strip()}"
        return "The daemon ended without a word."

    async def ask(self, verb: str, **params: Any) -> Any:
        return await self.client.call(verb, timeout=20, **params)

    async def answers(self) -> bool:
        try:
            await self.ask("list")
        except (Unreachable, OSError):
            return False
        return True

    async def stop(self) -> list[str]:
        """End the daemon, which ends its agents; the command lines of what had to be ended by force afterwards."""
        await self.client.close()
        if self.daemon and not self.dead:
            self.daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP):
                    await self.daemon.wait()
        return await asyncio.to_thread(end_all, leftovers(self.place))

    def remove(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


def leftovers(place: Path) -> list[psutil.Process]:
    """Processes that name our directory and have no terminal: a person's own shell may name it too."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and belongs(process, str(place))]


def belongs(process: psutil.Process, place: str) -> bool:
    try:
        named = any(place in text for text in (*process.cmdline(), *process.environ().values()))
        return named and process.terminal() is None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_all(processes: list[psutil.Process]) -> list[str]:
    ended = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            ended.append(" ".join(process.cmdline())[:80])
            process.kill()
    psutil.wait_procs(processes, 5)
    return ended


def is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return True
    return False


def any_free() -> int:
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        return attempt.getsockname()[1]
