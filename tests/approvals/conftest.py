"""An agent with a configuration, and repositories that are dictionaries: what carries out is tested apart from git."""

from typing import Any, NamedTuple

import pytest

from agents.models import Agent
from broker.models import HIVE, Mailbox
from lifecycle import repos, steps
from lifecycle.models import Container

SHA = "a" * 40


class Blob(NamedTuple):
    data: bytes
    sha256: str
    sha: str


class Repositories:
    """In the place of lifecycle.repos: what the manager committed, and what was applied, of one agent."""

    def __init__(self) -> None:
        self.proposed: dict[str, bytes] = {}
        self.log: list[tuple[bytes, str]] = []

    def fetch(self, name: str, sha: str, wanted: str) -> Blob:
        if sha not in self.proposed:
            raise repos.BadCommit(f"There is no commit {sha} in the proposed repository of {name}.")
        return Blob(self.proposed[sha], "", sha)

    def applied(self, name: str) -> "Repositories":
        return self

    def current(self) -> bytes | None:
        return self.log[-1][0] if self.log else None

    def commit(self, files: dict[str, bytes], message: str, author: str) -> str:
        self.log.append((files["agent.toml"], message))
        return f"{len(self.log) - 1:040x}"

    def history(self) -> list[dict[str, Any]]:
        rows = [
            {"rev": f"{number:040x}", "at": "", "by": "", "message": said} for number, (_, said) in enumerate(self.log)
        ]
        return rows[::-1]

    def read(self, rev: str, file: str) -> bytes:
        return self.log[int(rev, 16)][0]


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Repositories:
    here = Repositories()
    monkeypatch.setattr(repos, "fetch", here.fetch)
    monkeypatch.setattr(repos, "Applied", here.applied)
    monkeypatch.setattr(repos, "seed", lambda *args: None)
    return here


@pytest.fixture
def scout(db: None, git: Repositories) -> Container:
    """It runs, with a configuration of its own."""
    for name, role in ((HIVE, "hive"), ("hm1nd", "manager"), ("scout", "agent")):
        Mailbox.objects.get_or_create(name=name, defaults={"role": role, "open": role != "hive"})
    Agent.objects.create(name="scout", cli_version="2.1.330")
    old = {"name": "scout", "driver": "process", "uid": 40000, "status": "running", "config": {"model": "opus"}}
    row = Container.objects.create(**old, source='model = "opus"\n')
    git.commit({"agent.toml": row.source.encode()}, "Spawned", "operator")
    return row


def rebuilt(name: str = "scout", **outcome: Any) -> None:
    """What lifecycle/steps.py would do for a rebuild that is asked for, with this outcome."""
    row = Container.objects.exclude(op="").filter(pk=name).first()
    if row:
        steps.settle(row, {"status": "running", "error": ""} | outcome)
