"""A hive of a test's own: a real daemon, real containers, the real CLI; only the model is scripted."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker.wire import ask

PROJECT = Path(__file__).resolve().parent.parent
# What is left out: whatever the machine's own hive is told.
FOREIGN = ("HIVE_", "DJANGO_", "ANTHROPIC_", "CLAUDE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(seen: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What `seen` returns once it is true; AssertionError that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := seen():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}")


class Hive:
    def __init__(self, model_url: str = "", driver: str = "bwrap", **environment: str):
        # Short: a unix socket's path has 107 bytes.
        self.root = Path(tempfile.mkdtemp(prefix="hv-", dir="/tmp"))
        self.state, self.runtime, self.port = self.root / "s", self.root / "r", free_port()
        self.driver = driver
        mine = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.env = mine | {
            "HIVE_STATE_DIR": str(self.state),
            "HIVE_RUNTIME_DIR": str(self.runtime),
            "HIVE_BIND": f"127.0.0.1:{self.port}",
            "HIVE_MANAGER_PORT": str(free_port()),
            "HIVE_AGENT_PORTS": "",
            # Nothing mounted, so that whatever a test leaves behind can be removed.
            "HIVE_AGENT_DISK_MAX": "0",
            "HIVE_MODEL_URL": model_url,
            **environment,
        }
        self.daemon: subprocess.Popen | None = None

    # ---- the daemon

    def serve(self, *options: str) -> subprocess.Popen:
        """Start the daemon without waiting for it."""
        trust = ["--trust-agents"] if self.driver == "process" else []
        command = [sys.executable, "manage.py", "hive", "serve", "--driver", self.driver, *trust, *options]
        log = open(self.root / "daemon.log", "ab")  # noqa: SIM115 (the daemon's, as long as it lives)
        self.daemon = subprocess.Popen(command, cwd=PROJECT, env=self.env, stdout=subprocess.PIPE, stderr=log)
        log.close()
        return self.daemon

    def start(self, *options: str) -> "Hive":
        """Start the daemon and wait until it answers."""
        self.serve(*options)
        until(self.answers, f"the daemon answers: {self.log()}", 30)
        return self

    def answers(self) -> bool:
        assert self.daemon is None or self.daemon.poll() is None, self.log()
        try:
            return bool(self.ask("about"))
        except Exception:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.daemon is not None
        self.daemon.send_signal(number)
        try:
            code = self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            raise
        finally:
            assert self.daemon.stdout
            self.daemon.stdout.close()
        self.daemon = None
        return code

    def close(self) -> None:
        """Stop everything, agents too, and leave nothing behind."""
        try:
            if self.daemon is None:
                self.start("--stop-agents")
            for row in self.ask("list")["agents"]:
                if row["pid"]:
                    self.ask("kill", name=row["name"])
            until(lambda: not any(row["pid"] for row in self.ask("list")["agents"]), "the agents are gone", 30)
            self.stop()
        finally:
            if self.daemon:
                self.stop(signal.SIGKILL)
            self.discard()

    def discard(self) -> None:
        """Remove what it left on disk; nothing of it may run any more."""
        alive = [pid for pid in _below(1) if str(self.root) in _command(pid)]
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        for place in sorted(mounted(self.root), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=True)
        shutil.rmtree(self.root, ignore_errors=True)
        assert not alive, f"still running after the hive was closed: {alive}"

    def log(self) -> str:
        return (self.root / "daemon.log").read_text() if (self.root / "daemon.log").exists() else ""

    # ---- asking it

    def ask(self, verb: str, **params: Any) -> Any:
        return asyncio.run(ask(self.runtime / "host.sock", verb, **params))

    def cli(self, *words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "manage.py", "hive", *words]
        return subprocess.run(command, cwd=PROJECT, env=self.env, capture_output=True, text=True, timeout=90)

    def json(self, *words: str) -> Any:
        done = self.cli(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def agent(self, name: str) -> dict[str, Any]:
        return self.ask("status", name=name)

    def idle(self, name: str) -> dict[str, Any]:
        """Wait until the agent waits for messages."""
        seen = lambda: (row := self.agent(name))["state"] == "idle" and row  # noqa: E731
        return until(seen, f"{name} is idle\n{self.log()[-3000:]}")

    def message(self, id_: int) -> dict[str, Any]:
        return next(row for row in self.ask("messages", after=id_ - 1, limit=1)["messages"])

    def delivered(self, id_: int, seconds: float = 60) -> dict[str, Any]:
        seen = lambda: (row := self.message(id_))["state"] == "delivered" and row  # noqa: E731
        return until(seen, f"message {id_} is delivered", seconds)

    def events(self, name: str) -> list[dict[str, Any]]:
        return self.ask("events", name=name, after=0, limit=1000)["events"]

    # ---- its processes

    def processes(self, name: str, word: str) -> list[int]:
        """The pids below an agent's first process whose command line has `word`."""
        inner = self.agent(name)["pid"]
        return [pid for pid in _below(inner) if word in _command(pid)] if inner else []


def mounted(root: Path) -> list[str]:
    """What a hive that was given a limit on the disk leaves behind."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{root}/")]


def _below(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = [int(child) for child in children]
    return found + [deeper for child in found for deeper in _below(child)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
