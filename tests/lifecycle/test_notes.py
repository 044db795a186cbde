"""Notes of an agent that means harm: whatever it puts under /state, nothing outside is read and nobody waits."""

import os
import socket
import time
from datetime import UTC, datetime

import pytest

from broker.wire import Refused
from lifecycle import notes, paths


@pytest.fixture
def state(settings, tmp_path):
    settings.HIVE_STATE_DIR = tmp_path
    place = paths.state_dir("scout")
    place.mkdir(parents=True)
    (tmp_path / "secret").write_text("the hive's own")
    return place


def listed():
    return {note.path: note.what for note in notes.listing("scout")[0]}


def test_files_are_listed_newest_first_and_read(state):
    (state / "reading").mkdir()
    (state / "reading" / "fair.md").write_text("three papers")
    (state / "old.md").write_text("x")
    os.utime(state / "old.md", (1, 1))
    found, more = notes.listing("scout")
    assert [(note.path, note.bytes, note.what) for note in found] == [("reading/fair.md", 12, ""), ("old.md", 1, "")]
    assert not more
    assert notes.read("scout", "reading/fair.md") == "three papers"


def test_an_agent_without_a_directory_has_no_notes(settings, tmp_path):
    settings.HIVE_STATE_DIR = tmp_path
    assert notes.listing("scout") == ([], False)
    with pytest.raises(Refused):
        notes.read("scout", "x")


def make_link(state):
    (state / "bad").symlink_to(state.parents[2] / "secret")


def make_hard_link(state):
    os.link(state.parents[2] / "secret", state / "bad")


def make_fifo(state):
    os.mkfifo(state / "bad")


def make_socket(state):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(state / "bad"))


def make_long(state):
    (state / "bad").write_bytes(b"x" * (notes.LONGEST + 1))


@pytest.mark.parametrize("make", [make_link, make_hard_link, make_fifo, make_socket, make_long])
def test_what_is_no_plain_file_is_named_and_not_opened(state, make):
    make(state)
    assert listed()["bad"]
    with pytest.raises(Refused):
        notes.read("scout", "bad")


def test_a_directory_that_is_a_link_is_not_gone_into(state):
    (state / "away").symlink_to(state.parents[2])
    assert listed() == {"away": "a link, not followed"}
    with pytest.raises(Refused):
        notes.read("scout", "away/secret")


@pytest.mark.parametrize(
    "path", ["../../secret", "/etc/passwd", "", ".", "a\0b", "x" * 5000, "no/such/file", "..", "\udcff"]
)
def test_no_path_leads_out(state, path):
    with pytest.raises(Refused):
        notes.read("scout", path)


def test_names_are_an_agents_too(state):
    for name in (b"\xff\xfe", b"a\nb", b"\x1b[31m", "‮gnp".encode()):
        (state / os.fsdecode(name)).write_text("x")
    assert set(listed().values()) == {"a name that cannot be written"}


def test_a_tree_without_end_is_cut(state):
    deep = state
    for _ in range(notes.DEEPEST + 3):
        deep = deep / "d"
        deep.mkdir()
    for number in range(notes.MOST + 5):
        (state / f"n{number}").touch()
    found, more = notes.listing("scout")
    assert (len(found), more) == (notes.MOST, True)
    (state / "d").rename(state / "e")
    deepest = [note for note in notes.walked("scout") if note.what]
    assert [note.what for note in deepest] == ["a directory too deep to be shown"]


def test_a_clock_gone_mad_is_no_error(state):
    (state / "x").touch()
    facts = list((state / "x").stat())
    facts[8] = 2**50  # st_mtime; some file systems keep no such time
    assert notes._note(("x",), os.stat_result(facts)).at == datetime.fromtimestamp(0, UTC)


def test_a_swap_in_the_middle_reads_nothing_else(state, monkeypatch):
    """Listed as a file, and a link by the time it is read."""
    (state / "note").write_text("mine")
    assert listed() == {"note": ""}
    (state / "note").unlink()
    (state / "note").symlink_to(state.parents[2] / "secret")
    with pytest.raises(Refused, match="plain file"):
        notes.read("scout", "note")


def test_nobody_waits_for_a_fifo(state):
    os.mkfifo(state / "note")
    begun = time.monotonic()
    with pytest.raises(Refused):
        notes.read("scout", "note")
    assert time.monotonic() - begun < 5
