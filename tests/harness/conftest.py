"""A harness as its driver starts it, with everything around it faked but claude."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from hyperhive.demo.model import Rule, ScriptedModel

from .hosts import FakeHost

PROJECT = Path(__file__).resolve().parents[2]
VERSIONS = (cli.WANTED, cli.FLOOR)


def claude_at(version: str) -> Path:
    return PROJECT / ".tools" / f"claude-{version}" / "claude"


class Nest:
    """One agent's directories, its host, its model, and its harness process."""

    def __init__(self, folder: Path, model: ScriptedModel, version: str):
        self.folder, self.model, self.version = folder, model, version
        for name in ("run", "journal", "state", "workspace", "claude", "tmp", "app"):
            (folder / name).mkdir()
        # What a container has of the code, and no more.
        for package in ("agents", "broker", "harness"):
            (folder / "app" / package).symlink_to(PROJECT / package)
        self.host = FakeHost(folder / "run", model.port)
        self.process: asyncio.subprocess.Process | None = None
        self.env: dict[str, str] = {}
        self.configure()

    def configure(self, model_url: str | None = "relay", **config: Any) -> None:
        given = {"model": "sonnet", "prompt": "", "tools": ["Bash", "Read"], "turn_timeout": 60, "idle_timeout": 60}
        agent_file(self.folder, model_url, **(given | config))

    async def start(self) -> None:
        names = {
            "RUN": "run",
            "JOURNAL": "journal",
            "STATE": "state",
            "WORKSPACE": "workspace",
            "AGENT_FILE": "agent.json",
        }
        env = {f"HIVE_{name}": str(self.folder / place) for name, place in names.items()}
        env |= {"CLAUDE_CONFIG_DIR": str(self.folder / "claude"), "TMPDIR": str(self.folder / "tmp")}
        env |= {"HIVE_CLAUDE": str(claude_at(self.version).resolve()), "HIVE_PYTHON": sys.executable}
        env |= {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        env |= {"PYTHONPATH": str(self.folder / "app"), "DJANGO_SETTINGS_MODULE": "harness.settings"} | self.env
        log = (self.folder / "log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "django",
            "harness",
            env=env,
            cwd="/",
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    async def end(self, signal_: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(signal_)
        return await self.process.wait()

    def claudes(self) -> list[int]:
        """The claude processes of this nest."""
        return [pid for pid in self.marked() if b"--print" in read(pid, "cmdline")]

    def marked(self) -> list[int]:
        """Everything that this nest's harness started and that lives."""
        mark = f"HIVE_JOURNAL_OF={self.folder / 'journal'}\0".encode()
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if mark in read(pid, "environ")]

    def log(self) -> str:
        return (self.folder / "log").read_text()


def agent_file(folder: Path, model_url: str | None = None, **config: Any) -> str:
    """An agent.json in that folder; its path, as the environment has it."""
    agent = {
        "schema": 1,
        "name": "scout",
        "role": "agent",
        "manager": "hm1nd",
        "model_url": model_url,
        "config": config,
    }
    (folder / "agent.json").write_text(json.dumps(agent))
    return str(folder / "agent.json")


def read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def model() -> Any:
    with ScriptedModel([Rule(reply="done")]) as model:
        yield model


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    if not claude_at(request.param).exists():
        pytest.skip(f"claude {request.param} is not installed in .tools")
    return request.param


@pytest.fixture
async def nest(tmp_path_factory: Any, model: ScriptedModel, version: str) -> AsyncIterator[Nest]:
    """With every version that is driven; `@pytest.mark.parametrize("version", …)` narrows it."""
    nest = Nest(tmp_path_factory.mktemp("n"), model, version)
    await nest.host.back()
    yield nest
    if nest.process:
        await nest.end(signal.SIGKILL)
    await nest.host.gone()
    for pid in nest.marked():
        os.kill(pid, signal.SIGKILL)
