"""`hive restore`: a backup in the database's place, or a sentence why not, and never half of either."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hives import FOREIGN, PROJECT


class State:
    """A state directory that a hive once used: the first message is in the backup too, the second is not."""

    def __init__(self, place: Path):
        self.place, self.database = place, place / "hive.sqlite3"
        mine = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.env = mine | {"HIVE_STATE_DIR": str(place), "HIVE_RUNTIME_DIR": str(place / "run")}

    def run(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-W", "error", "manage.py", "hive", *words]
        done = subprocess.run(command, cwd=PROJECT, env=self.env, capture_output=True, text=True, timeout=90)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    def restore(self, path: Path) -> tuple[int, str]:
        return self.run("restore", str(path), "--json")

    def refused(self, path: Path) -> tuple[int, str]:
        """And nothing is changed."""
        before = sorted((str(file), file.read_bytes()) for file in self.place.glob("hive.sqlite3*"))
        code, words = self.restore(path)
        assert sorted((str(file), file.read_bytes()) for file in self.place.glob("hive.sqlite3*")) == before
        return code, words


def table(database: Path, *statements: str) -> list:
    plain = sqlite3.connect(database)
    with plain:
        found = [row for statement in statements for row in plain.execute(statement)]
    plain.close()
    return found


def send(database: Path, body: str) -> None:
    table(
        database,
        "INSERT INTO broker_message (cid, sender, recipient, body, chain, hop, state, attempt, reason, created_at) "
        f"VALUES ('{body}', 'a', 'b', '{body}', '', 0, 'queued', 0, '', '2026-01-01')",
    )


def bodies(database: Path) -> list[str]:
    return [body for (body,) in table(database, "SELECT body FROM broker_message ORDER BY id")]


MAKE = """
import django; django.setup()
from pathlib import Path
from hyperhive import state
from django.conf import settings
state.open_database(settings.HIVE_STATE_DIR)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    here = State(place)
    env = here.env | {"DJANGO_SETTINGS_MODULE": "hyperhive.settings"}
    subprocess.run([sys.executable, "-c", MAKE], cwd=PROJECT, env=env, check=True)
    send(here.database, "first")
    (place / "backups").mkdir()
    table(here.database, f"VACUUM INTO '{place}/backups/hive-000001-20260101-000000.sqlite3'")
    send(here.database, "second")
    return place


@pytest.fixture
def here(made: Path, tmp_path: Path) -> State:
    return State(shutil.copytree(made, tmp_path / "s"))


@pytest.fixture
def backup(here: State) -> Path:
    return next((here.place / "backups").iterdir())


def test_what_is_restored_is_there_and_what_was_there_is_kept(here: State, backup: Path) -> None:
    left = sqlite3.connect(here.database)
    left.execute("INSERT INTO broker_mailbox VALUES ('late', 'agent', 1)")
    left.commit()
    assert here.database.with_name("hive.sqlite3-wal").stat().st_size, "somebody was killed: the log holds something"
    code, said = here.restore(backup)
    left.close()
    assert code == 0, said
    aside = Path(json.loads(said)["aside"])
    assert bodies(here.database) == ["first"]
    assert table(here.database, "SELECT * FROM broker_mailbox") == []
    assert bodies(aside / "hive.sqlite3") == ["first", "second"]
    assert table(aside / "hive.sqlite3", "SELECT name FROM broker_mailbox") == [("late",)]
    code, said = here.restore(aside / "hive.sqlite3")
    assert bodies(here.database) == ["first", "second"], "and back"


def test_a_lost_database_comes_back(here: State, backup: Path) -> None:
    here.database.unlink()
    code, said = here.restore(backup)
    assert (code, json.loads(said)["aside"]) == (0, None)
    assert bodies(here.database) == ["first"]


def test_a_machine_that_had_none_gets_a_hive(tmp_path: Path, backup: Path) -> None:
    new = State(tmp_path / "new" / "s")
    assert new.restore(backup)[0] == 0
    assert (new.place / "marker").exists()


def missing(backup: Path) -> None:
    backup.unlink()


def empty(backup: Path) -> None:
    backup.write_bytes(b"")


def text(backup: Path) -> None:
    backup.write_text("this is no database, " * 400)


def truncated(backup: Path) -> None:
    os.truncate(backup, backup.stat().st_size // 2)


def zeros(backup: Path) -> None:
    with open(backup, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\0" * 4096 * 4)


def newer(backup: Path) -> None:
    table(backup, "INSERT INTO django_migrations (app, name, applied) VALUES ('broker', '9999_later', '2030-01-01')")


REFUSALS = {
    missing: (4, "There is no file"),
    empty: (5, "cannot be restored"),
    text: (5, "cannot be restored (file is not a database)"),
    truncated: (5, "cannot be restored"),
    zeros: (5, "cannot be restored"),
    newer: (5, "a newer hyperhive wrote it, broker.9999_later is not known here"),
}


@pytest.mark.parametrize("harm", REFUSALS)
def test_what_cannot_be_restored_is_refused(here: State, backup: Path, harm) -> None:
    harm(backup)
    code, words = here.refused(backup)
    assert code == REFUSALS[harm][0]
    assert REFUSALS[harm][1] in words


def test_nothing_is_restored_under_a_hive_that_runs(here: State, backup: Path) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", hold, str(here.place / "lock")]
    with subprocess.Popen(command, **pipes) as daemon:  # type: ignore[call-overload]
        daemon.stdout.readline()
        code, words = here.refused(backup)
    assert code == 5
    assert "stop it first" in words


def test_a_state_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path, backup: Path) -> None:
    (tmp_path / "file").write_text("")
    code, words = State(tmp_path / "file" / "s").restore(backup)
    assert (code, "Not a directory" in words) == (5, True)
