"""How `hive serve` starts, and each way in which it says that it cannot."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hives import PROJECT, Hive, until

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120)]


@pytest.fixture
def quiet() -> Iterator[Hive]:
    """A hive that was not started yet."""
    one = Hive()
    yield one
    one.close() if one.daemon else one.discard()


def refused(hive: Hive, *options: str, **environment: str) -> tuple[int, str]:
    command = [sys.executable, "manage.py", "hive", "serve", *options]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=hive.env | environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_second_start_answers_within_five_seconds(hive: Callable[..., Hive]) -> None:
    """The best of three: a machine that is busy with something else says nothing about the hive."""
    here = hive()
    here.idle("hm1nd")
    inner = here.agent("hm1nd")["pid"]
    rounds = []
    while len(rounds) < 3 and not any(max(seconds) < 5 for seconds in rounds):
        rounds.append(_stop_and_start(here, inner))
    assert max(rounds[-1]) < 5, rounds
    assert here.idle("hm1nd")["pid"] == inner


def _stop_and_start(here: Hive, inner: int) -> tuple[float, float]:
    """Seconds until the daemon was gone, and until the next one's dashboard answered."""
    begun = time.monotonic()
    assert here.stop() == 0
    stopped = time.monotonic()
    assert Path(f"/proc/{inner}").exists(), "a clean stop leaves the agents running"
    here.serve()
    until(lambda: _answers(here.port), "the dashboard answers", 60)
    answered = time.monotonic()
    # The pages come first, the sockets a moment later.
    until(here.answers, "the daemon answers", 60)
    return stopped - begun, answered - stopped


def test_the_doctor_finds_a_hive_that_runs_as_it_should_be(hive: Callable[..., Hive]) -> None:
    found = hive().json("doctor")
    assert found["running"]
    assert [one for one in found["checks"] if one["state"] == "mend"] == []


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        try:
            probe.connect(("127.0.0.1", port))
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return probe.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def test_stop_agents_takes_them_along(hive: Callable[..., Hive]) -> None:
    here = hive()
    here.idle("hm1nd")
    inner = here.agent("hm1nd")["pid"]
    here.stop()
    here.start("--stop-agents")
    assert here.idle("hm1nd")["pid"] == inner
    here.stop()
    assert not Path(f"/proc/{inner}").exists()
    here.start()
    assert here.idle("hm1nd")["pid"] != inner, "what should run runs again"


def test_a_second_daemon_is_refused(hive: Callable[..., Hive]) -> None:
    here = hive()
    code, words = refused(here, "--bind", "127.0.0.1:1")
    assert code == 75
    assert "Another `hive serve` already runs" in words


def test_a_port_in_use_is_refused(quiet: Hive) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", quiet.port))
        holder.listen()
        code, words = refused(quiet)
    assert code == 1
    assert f"127.0.0.1:{quiet.port} cannot be used" in words
    assert "--bind" in words


@pytest.mark.parametrize("bind", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", ":7000"])
def test_an_address_that_is_none_is_refused(quiet: Hive, bind: str) -> None:
    code, words = refused(quiet, "--bind", bind)
    assert code == 2
    assert "127.0.0.1:7000" in words


def test_an_unknown_driver_is_refused(quiet: Hive) -> None:
    code, words = refused(quiet, "--driver", "vmware")
    assert code in (1, 2)
    assert "bwrap" in words


def test_a_machine_without_git_is_told_so_and_the_doctor_names_it(quiet: Hive, tmp_path: Path) -> None:
    assert refused(quiet, PATH=str(tmp_path)) == (
        1,
        "hive: There is no git, which keeps the agents' configurations: install it, then start again.\n",
    )
    quiet.env["PATH"] = str(tmp_path)
    done = quiet.cli("doctor")
    assert "apt-get install git" in done.stdout
    assert "Traceback" not in done.stderr


def test_no_isolation_needs_to_be_trusted_by_name(quiet: Hive) -> None:
    code, words = refused(quiet, "--driver", "process")
    assert code == 5
    assert "--trust-agents" in words


def test_no_isolation_serves_this_machine_alone(quiet: Hive) -> None:
    code, words = refused(quiet, "--driver", "process", "--trust-agents", "--bind", f"0.0.0.0:{quiet.port}")
    assert code == 5
    assert "--bind 127.0.0.1:7000, or --driver bwrap" in words


def used(hive: Hive) -> Path:
    """The database of a hive that ran once."""
    hive.start("--stop-agents")
    hive.ask("backup")
    hive.stop()
    return hive.state / "hive.sqlite3"


def missing(database: Path) -> None:
    database.unlink()


def empty(database: Path) -> None:
    database.write_bytes(b"")


def text(database: Path) -> None:
    database.write_text("this is no database, " * 400)


def truncated(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def page_of_zeros(database: Path) -> None:
    with open(database, "r+b") as file:
        file.seek(4096)
        file.write(b"\0" * 4096 * 4)


@pytest.mark.parametrize("damage", [missing, empty, text, truncated, page_of_zeros])
def test_a_damaged_database_is_refused_and_left_alone(quiet: Hive, damage: Callable[[Path], None]) -> None:
    database = used(quiet)
    for side in ("-wal", "-shm"):
        database.with_name(database.name + side).unlink(missing_ok=True)
    damage(database)
    before = database.read_bytes() if database.exists() else None
    code, words = refused(quiet)
    assert code == 78
    assert "is damaged" in words
    assert str(quiet.state / "backups") in words, "the newest backup is named"
    assert (database.read_bytes() if database.exists() else None) == before


def test_a_database_newer_than_the_code_is_refused(quiet: Hive) -> None:
    database = used(quiet)
    with sqlite3.connect(database) as plain:
        plain.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('broker', '9999_later', '2030-01-01')"
        )
    plain.close()
    code, words = refused(quiet)
    assert code == 78
    assert "written by a newer hyperhive" in words


def test_an_older_database_is_copied_aside_before_it_is_migrated(quiet: Hive) -> None:
    database = used(quiet)
    with sqlite3.connect(database) as plain:
        plain.execute("DELETE FROM django_migrations WHERE name = '0004_keep'")
        plain.execute("ALTER TABLE agents_agent DROP COLUMN keep")
    plain.close()
    quiet.start("--stop-agents")
    assert list((quiet.state / "backups").glob("before-migration-*.sqlite3"))


@pytest.mark.root
def test_a_full_disk_is_refused_at_the_start(quiet: Hive) -> None:
    quiet.state.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(quiet.state)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        code, words = refused(quiet)
    finally:
        subprocess.run(["umount", str(quiet.state)], check=True)
    assert code == 1
    assert "is full" in words


def fake_claude(path: Path, says: str) -> str:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("claude", "words"),
    [("missing", "is no program"), ("1.0.17 (Claude Code)", "older than"), ("hello", "does not tell its version")],
)
def test_a_claude_that_cannot_be_used_is_said_at_the_start_and_on_the_agent(
    hive: Callable[..., Hive], tmp_path: Path, claude: str, words: str
) -> None:
    path = str(tmp_path / "none") if claude == "missing" else fake_claude(tmp_path / "claude", claude)
    here = hive(HIVE_CLAUDE=path)
    until(lambda: words in here.log(), "the daemon says it")
    row = until(lambda: (found := here.agent("hm1nd"))["state"] == "failing" and found, "the agent says that it fails")
    assert words in row["why"]
    assert here.stop(signal.SIGTERM) == 0


def test_a_stop_does_not_wait_for_a_thread_that_is_stuck(quiet: Hive, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    slow = tmp_path / "claude"
    slow.write_text(f"#!/bin/sh\necho >>{asked}\nexec sleep 300\n")
    slow.chmod(0o755)
    quiet.env["HIVE_CLAUDE"] = str(slow)
    quiet.start("--stop-agents")
    # By the container that starts, and for the warning at the start.
    until(lambda: asked.exists() and len(asked.read_text()) == 2, "claude was asked for its version twice")
    begun = time.monotonic()
    assert quiet.stop() == 0
    assert time.monotonic() - begun < 20, "asking that claude for its version takes a minute"
    assert "Traceback" not in quiet.log()
