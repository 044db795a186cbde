"""Reading, giving and purging trees that were shaped to hurt us."""

import os
import subprocess
from pathlib import Path

import pytest

from lifecycle import safe_fs

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")


@pytest.fixture
def victim(tmp_path):
    """What must never be touched."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("all of it")
    yield victim
    assert (victim / "precious").read_text() == "all of it"


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "agents" / "scout"
    tree.mkdir(parents=True)
    return tree


def test_a_purge_counts_what_it_removed(tree):
    (tree / "a").write_text("12345")
    (tree / "sub" / "deeper").mkdir(parents=True)
    (tree / "sub" / "deeper" / "b").write_text("123")
    done = safe_fs.purge(tree)
    assert done.as_json() == {"path": str(tree), "files": 2, "bytes": 8}
    assert os.listdir(tree.parent) == []


def test_nothing_there_is_no_purge(tree):
    tree.rmdir()
    assert safe_fs.purge(tree) is None
    assert safe_fs.purge(tree.parent / "nowhere" / "x") is None


def test_links_are_removed_and_never_followed(tree, victim):
    (tree / "dir").symlink_to(victim)
    (tree / "file").symlink_to(victim / "precious")
    (tree / "sub").mkdir()
    (tree / "sub" / "up").symlink_to("../../../victim")
    os.mkfifo(tree / "fifo")
    assert safe_fs.purge(tree).files == 4


def test_a_tree_that_is_itself_a_link_loses_the_link_alone(tmp_path, victim):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "scout").symlink_to(victim)
    assert safe_fs.purge(tmp_path / "agents" / "scout").files == 1


def test_a_parent_that_is_a_link_is_refused(tmp_path, victim):
    (tmp_path / "agents").symlink_to(victim)
    with pytest.raises(NotADirectoryError):
        safe_fs.purge(tmp_path / "agents" / "precious")


def test_a_tree_two_thousand_deep_goes_too(tree):
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    assert safe_fs.purge(tree).files == 1
    assert os.listdir(tree.parent) == []


def test_directories_without_any_permission_go_too(tree):
    (tree / "shut" / "inner").mkdir(parents=True)
    (tree / "shut" / "inner" / "file").write_text("x")
    (tree / "shut" / "inner").chmod(0)
    (tree / "shut").chmod(0)
    assert safe_fs.purge(tree).files == 1


def test_a_purge_that_was_cut_off_is_finished_by_the_next(tree, monkeypatch):
    (tree / "sub").mkdir()
    (tree / "sub" / "file").write_text("x")
    real = safe_fs._flatten
    monkeypatch.setattr(safe_fs, "_flatten", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        safe_fs.purge(tree)
    assert not tree.exists()
    assert [name[:13] for name in os.listdir(tree.parent)] == [".trash.scout."]
    monkeypatch.setattr(safe_fs, "_flatten", real)
    assert safe_fs.purge(tree).files == 1
    assert os.listdir(tree.parent) == []


def test_the_trash_of_another_name_is_left_alone(tree):
    (tree.parent / ".trash.scout-2.abc").mkdir()
    safe_fs.purge(tree)
    assert os.listdir(tree.parent) == [".trash.scout-2.abc"]


@root_only
@pytest.mark.parametrize("where", ["", "sub", "sub/deeper"])
def test_a_mount_is_refused_and_what_is_behind_it_kept(tree, victim, where):
    (tree / "sub" / "deeper").mkdir(parents=True)
    place = tree / where
    subprocess.run(["mount", "--bind", victim, place], check=True)
    try:
        with pytest.raises(safe_fs.Unsafe, match="is mounted at .*unmount it"):
            safe_fs.purge(tree)
        assert tree.exists()
    finally:
        subprocess.run(["umount", place], check=True)
    assert safe_fs.purge(tree)


@root_only
@pytest.mark.parametrize("where", ["sub", "sub/deeper"])
def test_a_mount_that_the_first_look_missed_stops_the_descent(tree, victim, monkeypatch, where):
    (tree / "sub" / "deeper").mkdir(parents=True)
    subprocess.run(["mount", "--bind", victim, tree / where], check=True)
    monkeypatch.setattr(safe_fs, "_nothing_mounted", lambda path: None)
    try:
        with pytest.raises(safe_fs.Unsafe, match="mounted"):
            safe_fs.purge(tree)
    finally:
        places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        subprocess.run(["umount", next(place for place in places if place.startswith(str(tree.parent)))], check=True)


@root_only
def test_what_is_immutable_goes_too(tree):
    (tree / "stone").write_text("x")
    if subprocess.run(["chattr", "+i", tree / "stone"], capture_output=True).returncode:
        pytest.skip("this file system has no such flags")
    assert safe_fs.purge(tree).files == 1


@pytest.mark.parametrize("shape", ["link", "behind a link", "fifo", "directory", "two names", "too long"])
def test_only_a_plain_file_below_the_root_is_read(tree, victim, shape):
    (tree / "plain").write_text("words")
    assert safe_fs.read(tree, "plain", 10) == b"words"
    makers = {
        "link": lambda: (tree / "x").symlink_to(victim / "precious"),
        "behind a link": lambda: (tree / "x").symlink_to(victim),
        "fifo": lambda: os.mkfifo(tree / "x"),
        "directory": lambda: (tree / "x").mkdir(),
        "two names": lambda: os.link(tree / "plain", tree / "x"),
        "too long": lambda: (tree / "x").write_text("x" * 11),
    }
    makers[shape]()
    with pytest.raises(safe_fs.Unsafe):
        safe_fs.read(tree, "x/precious" if shape == "behind a link" else "x", 10)


@pytest.mark.parametrize("name", ["../victim/precious", "/etc/passwd", "", "."])
def test_no_name_leads_out_of_the_root(tree, victim, name):
    with pytest.raises(safe_fs.Unsafe):
        safe_fs.read(tree, name, 10)


@root_only
def test_a_directory_is_given_with_all_below_and_links_are_not_followed(tree, victim):
    (tree / "state" / "sub").mkdir(parents=True)
    (tree / "state" / "sub" / "file").write_text("x")
    (tree / "state" / "link").symlink_to(victim / "precious")
    safe_fs.give(tree / "state", 1_900_000_123)
    for path in (tree / "state", tree / "state" / "sub", tree / "state" / "sub" / "file", tree / "state" / "link"):
        assert path.lstat().st_uid == 1_900_000_123
    assert (victim / "precious").stat().st_uid == 0


@root_only
def test_a_link_in_the_place_of_a_directory_is_not_given(tree, victim):
    (tree / "state").symlink_to(victim)
    with pytest.raises(NotADirectoryError):
        safe_fs.give(tree / "state", 1_900_000_123)
    assert victim.stat().st_uid == 0
