"""A hive's directories of the test's own, and agents whose payload is a few words of shell instead of a harness."""

import dataclasses
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from lifecycle import pool, steps, work
from lifecycle.config import AgentConfig
from lifecycle.drivers import DRIVERS, Spec
from lifecycle.drivers.cgroups import cgroups
from lifecycle.models import Container

# Ends by itself when asked, with a code of its own.
POLITE = "trap 'exit 7' TERM; echo ready; sleep 600 & wait"
# Can only be killed.
DEAF = "trap '' TERM; echo ready; while :; do sleep 1; done"


@pytest.fixture
def places(settings):
    """A short path of its own: a socket's must fit into 107 bytes, and it is not below a directory that is only root's."""
    root = Path(tempfile.mkdtemp(prefix="hive-"))
    settings.HIVE_STATE_DIR, settings.HIVE_RUNTIME_DIR = root / "state", root / "rt"
    settings.HIVE_STATE_DIR.mkdir(mode=0o711)
    yield root
    for driver in DRIVERS.values():
        for name in driver.list():
            driver.kill(name)
    for run in root.glob("state/run/*"):
        cgroups().end(run.name)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def agent(places):
    """spec("words of shell") of an agent called scout."""

    def spec(words: str = POLITE, name: str = "scout", **config) -> Spec:
        uid = 1_900_000_000 + sum(name.encode())
        return Spec(name, "agent", uid, "hm1nd", AgentConfig.read(config), ("/bin/sh", "-c", words))

    return spec


@pytest.fixture
def payload(places, monkeypatch):
    """Containers of the table run these words; each has said hello once it has said `ready`."""
    words = {"now": POLITE}
    real = Container.spec
    monkeypatch.setattr(
        Container, "spec", lambda row: dataclasses.replace(real(row), command=("/bin/sh", "-c", words["now"]))
    )
    monkeypatch.setattr(steps, "said_hello", greeted())
    pool.stopping.clear()
    yield words
    work.stop()


def greeted():
    """In the place of a hello: each run of a name has to say `ready` once more than the one before."""
    runs: dict[str, list[int]] = {}

    def said_hello(name, status) -> bool:
        mine, said = runs.setdefault(name, []), DRIVERS["bwrap"].logs(name)[0].count("ready")
        if said < len(mine):
            mine.clear()  # purged meanwhile, its log too
        if status.pid not in mine and said > len(mine):
            mine.append(status.pid)
        return status.pid in mine

    return said_hello


def until(true, seconds: float = 10):
    """What `true` returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not true within {seconds} s")


def logged(driver, name: str, word: str) -> str:
    """Its log, once the word stands in it."""
    until(lambda: word in driver.logs(name)[0])
    return driver.logs(name)[0]
