"""What is proposed to begin with, what is applied, and how the two are told apart; the intake is in tests/security."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lifecycle import paths, repos, safe_fs, seed
from lifecycle.config import AgentConfig

OWNER = 1_899_000_124 if os.geteuid() == 0 else os.geteuid()


def git(place: Path, *words: str) -> str:
    """As somebody who trusts the place."""
    done = subprocess.run(
        ["git", "--no-optional-locks", "-c", "safe.directory=*", *words],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


@pytest.fixture
def config(places):
    safe_fs.give(paths.config_dir("scout"), OWNER)
    return paths.config_dir("scout")


# ---- seeding ----------------------------------------------------------------------------------------------------------


def test_a_seeded_repository_is_whole_clean_and_the_managers(config, places):
    repos.seed("scout", OWNER)
    assert sorted(os.listdir(config)) == [".git", "agent.toml"]
    assert git(config, "status", "--porcelain") == ""
    assert git(config, "config", "user.name") == "hm1nd"
    assert not (config / ".git" / "hooks").exists()
    everything = [config, *config.rglob("*")]
    assert {path.lstat().st_uid for path in everything} == {OWNER}
    assert os.listdir(places / "state") == ["proposed"]


@pytest.mark.parametrize("file", ["agent.toml", "agent.nix"])
def test_what_is_seeded_can_be_taken_in_at_once(file, config):
    repos.seed("scout", OWNER, file)
    blob = repos.fetch("scout", git(config, "rev-parse", "HEAD"), file)
    assert blob.data == (config / file).read_bytes()


def test_a_seed_names_every_setting_and_what_it_shows_would_do():
    text = seed.text("scout", "agent.toml")
    assert AgentConfig.from_toml(text.encode()) == AgentConfig()
    shown = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line)
    assert AgentConfig.from_toml(shown.encode()).model_fields_set == set(AgentConfig.model_fields)


def test_a_seed_for_nix_names_every_option():
    text = seed.text("scout", "agent.nix")
    for option in ("model", "maxBudgetUsd = 2.5;", 'env = { EDITOR = "vi"; };', 'tools = [ "Read" '):
        assert f"hyperhive.{option}" in text
    assert text.endswith("{ pkgs, lib, ... }:\n{\n}\n")


def test_a_seed_begins_with_what_is_applied(config):
    repos.seed("scout", OWNER, "agent.toml", 'model = "opus"\n')
    assert AgentConfig.from_toml((config / "agent.toml").read_bytes()).model == "opus"


def test_what_is_there_is_left_alone(config):
    repos.seed("scout", OWNER)
    (config / "agent.toml").write_text("# mine\n")
    repos.seed("scout", OWNER)
    assert (config / "agent.toml").read_text() == "# mine\n"


def test_a_seed_that_a_crash_cut_short_is_made_again(config, places):
    (config / "agent.toml").write_text("half of it")
    left = paths.proposed_dir() / ".seed.abc"
    left.mkdir()
    seed.sweep()
    assert not left.exists()
    repos.seed("scout", OWNER)
    assert git(config, "status", "--porcelain") == ""


@pytest.mark.parametrize("entry", [".git", "agent.toml"])
def test_a_link_in_its_way_leads_nowhere(entry, config, places):
    victim = places / "victim"
    victim.write_text("all of it")
    (config / entry).symlink_to(victim)
    repos.seed("scout", OWNER)
    assert victim.read_text() == "all of it"


def test_a_link_in_the_place_of_the_directory_is_not_followed(config, places):
    config.rmdir()
    (places / "victim").mkdir()
    config.symlink_to(places / "victim")
    with pytest.raises(OSError, match="directory|symbolic"):
        repos.seed("scout", OWNER)
    assert os.listdir(places / "victim") == []


# ---- what is applied --------------------------------------------------------------------------------------------------


def test_nothing_is_applied_at_first(places):
    applied = repos.Applied("scout")
    assert applied.current() is None
    assert applied.history() == []


def test_every_change_is_a_commit_that_can_be_read_again(places):
    applied = repos.Applied("scout")
    first = applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    second = applied.commit({"agent.toml": b"a = 2\n"}, "two\n\nwith a reason", "operator")
    assert applied.current() == b"a = 2\n"
    assert applied.read(first, "agent.toml") == b"a = 1\n"
    history = applied.history()
    assert [(row["rev"], row["by"], row["message"]) for row in history] == [
        (second, "operator", "two\n\nwith a reason"),
        (first, "hm1nd", "one"),
    ]
    assert history[0]["at"].endswith("+00:00")
    assert git(applied.place, "fsck", "--strict") == ""


def test_back_is_a_commit_of_its_own(places):
    applied = repos.Applied("scout")
    first = applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    applied.commit({"agent.toml": b"a = 2\n"}, "two", "hm1nd")
    back = applied.revert_to(first)
    assert applied.current() == b"a = 1\n"
    assert [row["rev"] for row in applied.history()][0] == back
    assert len(applied.history()) == 3


def test_another_driver_has_another_file(places):
    applied = repos.Applied("scout")
    first = applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    applied.commit({"agent.nix": b"{ }\n"}, "two", "hm1nd")
    assert applied.current() == b"{ }\n"
    with pytest.raises(repos.BadCommit, match=r"has no agent\.nix"):
        applied.read(first, "agent.nix")


@pytest.mark.parametrize("rev", ["HEAD", "--output=/tmp/x", "11" * 20, "", "main", "../x"])
def test_only_a_whole_sha_of_the_line_is_a_revision(rev, places):
    applied = repos.Applied("scout")
    applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    with pytest.raises(repos.BadCommit, match="is no revision"):
        applied.read(rev, "agent.toml")


def test_words_from_outside_are_data(places):
    applied = repos.Applied("scout")
    words = "--amend\x1b[2K\n--output=/tmp/x\ntree 1111\n$(id)"
    applied.commit({"agent.toml": b"a = 1\n"}, words, "x <y>\nparent 11 --z")
    row = applied.history()[0]
    assert row["message"] == words.replace("\x1b", "\\x1b")
    assert row["by"] == "x y parent 11 --z"


def test_it_is_the_hosts_alone(places):
    applied = repos.Applied("scout")
    applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    directory = paths.applied_dir("scout")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.stat().st_uid == os.geteuid()
    assert not (applied.place / "hooks").exists()
    assert git(applied.place, "log", "-1", "--format=%cn <%ce>") == "hyperhive <hive@localhost>"


def test_a_lock_that_a_killed_writer_left_holds_up_nobody(places):
    applied = repos.Applied("scout")
    applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    (applied.place / "refs/heads/main.lock").touch()
    applied.commit({"agent.toml": b"a = 2\n"}, "two", "hm1nd")
    assert applied.current() == b"a = 2\n"


def test_a_damaged_one_says_so(places):
    applied = repos.Applied("scout")
    sha = applied.commit({"agent.toml": b"a = 1\n"}, "one", "hm1nd")
    (applied.place / "objects" / sha[:2] / sha[2:]).unlink()
    with pytest.raises(repos.BadCommit, match="damaged"):
        applied.current()


def test_another_ones_git_variables_are_forgotten(places):
    """GitPython hands on what it finds in the environment."""
    look = "import os, lifecycle.applied; print([name for name in os.environ if name.startswith('GIT_')])"
    environment = {
        **os.environ,
        "GIT_DIR": "/elsewhere",
        "GIT_AUTHOR_NAME": "x",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# ---- the difference ---------------------------------------------------------------------------------------------------


def told(old: str, new: str) -> list[tuple]:
    return [(row["kind"], row["old"], row["new"], row["text"]) for row in repos.diff(old.encode(), new.encode())]


def test_equal_texts_do_not_differ():
    assert repos.diff(b"a\n", b"a\n") == []


def test_a_difference_is_rows_with_both_numbers():
    assert told("a\nb\nc\n", "a\nx\ny\nc\n") == [
        ("hunk", None, None, "@@ -1,3 +1,4 @@"),
        ("ctx", 1, 1, "a"),
        ("del", 2, None, "b"),
        ("add", None, 2, "x"),
        ("add", None, 3, "y"),
        ("ctx", 3, 4, "c"),
    ]


def test_far_from_a_change_nothing_is_shown():
    old = "".join(f"{number}\n" for number in range(100))
    rows = told(old, old.replace("50\n", "fifty\n"))
    assert [row[1:3] for row in rows if row[0] in ("add", "del")] == [(51, None), (None, 51)]
    assert len(rows) == 1 + 3 + 2 + 3


def test_the_first_configuration_is_all_new():
    assert told("", "a\nb\n") == [
        ("hunk", None, None, "@@ -0,0 +1,2 @@"),
        ("add", None, 1, "a"),
        ("add", None, 2, "b"),
    ]


@pytest.mark.parametrize("char", ["\u202e", "\x1b", "\r", "\u200b", "\x00", "\u2028", "\x85", "\x0c", "\ufeff"])
def test_what_cannot_be_seen_is_written_out_and_makes_no_line(char):
    rows = told("a\n", f"a{char}b\n")
    assert len(rows) == 3
    assert char not in rows[-1][3]
    assert rows[-1][3].startswith("a\\")


def test_two_lines_that_look_alike_are_still_two():
    assert [row[0] for row in told("\x1b\n", "\\x1b\n")] == ["hunk", "del", "add"]


def test_lines_that_look_like_a_difference_are_lines():
    assert [row[3] for row in told("-- a\n", "++ b\n@@ -1 +1 @@\n")][1:] == ["-- a", "++ b", "@@ -1 +1 @@"]


def test_a_missing_newline_at_the_end_is_said():
    assert [row[3] for row in told("a\n", "a")][1:] == ["a", "a  \\ no newline at the end"]


def test_seeding_from_many_threads_leaves_the_process_where_it_was(places):
    here = os.getcwd()
    names = [f"t{number}" for number in range(24)]
    for name in names:
        safe_fs.give(paths.config_dir(name), OWNER)
    with ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(lambda name: repos.seed(name, OWNER), names))
    assert os.getcwd() == here
