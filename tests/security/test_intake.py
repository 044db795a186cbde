"""The intake against 29 repositories and 45 commits that were made to hurt: nothing runs, nothing leaks, each has its answer."""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from lifecycle import allot, intake, paths, repos, safe_fs

from .hostile_objects import OBJECTS, Objects
from .hostile_repos import CLEAN, EXECUTE, HONEST, LEAK, SAYS, SECRET, Hostile, private

AGENT = 1_899_000_123
# One intake, with some slack for a machine that does other things as well.
WITHIN = 10 + 2
NAIVE = (
    ("status",), ("diff",), ("diff", "HEAD~1"), ("diff", "HEAD~1", "HEAD"), ("log", "-p"), ("log", "--oneline"),
    ("show",), ("show", "HEAD:agent.toml"),
)  # fmt: skip


@pytest.fixture
def root(settings):
    """Where no user but root gets in: the sandboxes have to be given what they need."""
    root = Path(tempfile.mkdtemp(prefix="hive-", dir="/tmp"))
    settings.HIVE_STATE_DIR, settings.HIVE_RUNTIME_DIR = root / "state", root / "rt"
    settings.HIVE_STATE_DIR.mkdir(mode=0o700)
    # Where anyone could say that he was here.
    (root / "marks").mkdir()
    (root / "marks").chmod(0o777)
    yield root
    safe_fs.purge(root)


@pytest.fixture
def config(root):
    """The manager's directory of scout's configuration."""
    safe_fs.give(paths.config_dir("scout"), os.geteuid())
    return paths.config_dir("scout")


@pytest.fixture
def said(root, monkeypatch):
    """All that anything in the sandboxes wrote to stderr."""
    place = root / "said"
    place.mkdir()
    plain = tempfile.NamedTemporaryFile
    monkeypatch.setattr(intake.tempfile, "TemporaryFile", lambda: plain(dir=place, delete=False))
    return lambda: b"".join(file.read_bytes() for file in place.iterdir()).decode(errors="replace")


def owned_by(uid: int, place: Path) -> None:
    """All of it, and no link is followed."""
    for directory, directories, files in os.walk(place):
        for path in [directory, *(os.path.join(directory, name) for name in directories + files)]:
            os.lchown(path, uid, uid)


def taken_in(sha: str) -> str:
    """`file:` and what came, or the refusal; never later than it promises, and with nobody left behind."""
    if os.geteuid() == 0 and not paths.config_dir("scout").is_symlink():
        owned_by(AGENT, paths.config_dir("scout"))
    begin = time.monotonic()
    try:
        answer = "file:" + repos.fetch("scout", sha, "agent.toml").data.decode()
    except repos.BadCommit as bad:
        answer = str(bad)
    assert time.monotonic() - begin < WITHIN
    assert gone(), "processes of the sandboxes are still there"
    return answer


def gone() -> bool:
    """Whether nobody runs as one of their users any more; the kernel ends a namespace's last ones in its own time."""
    end = time.monotonic() + 3
    while left := [pid for pid in os.listdir("/proc") if pid.isdigit() and of(pid) in (AGENT, allot.git_uid())]:
        if time.monotonic() > end:
            return not left
        time.sleep(0.02)
    return True


def of(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def matches(answer: str, expected: str) -> bool:
    return any(
        answer == one if one.startswith("file:") else bool(re.search(one, answer)) for one in expected.split("|")
    )


# ---- hostile repositories ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", EXECUTE, ids=lambda vector: vector.__name__)
def test_a_repository_that_runs_a_command_runs_none(vector, config, root, said):
    it = Hostile(config, root / "marks", root / "secret")
    vector(it)
    answer = taken_in(it.sha)
    assert not it.mark.exists()
    assert SAYS not in said()
    assert matches(answer, EXECUTE[vector] or f"file:{HONEST.decode()}"), answer


@pytest.mark.parametrize("vector", LEAK, ids=lambda vector: vector.__name__)
def test_a_repository_that_hands_out_another_does_not(vector, config, root):
    sha = private(root / "secret")
    it = Hostile(config, root / "marks", root / "secret")
    vector(it)
    answer = taken_in(sha)
    assert "HOST-SECRET-TOKEN" not in answer
    assert matches(answer, LEAK[vector]), answer


def naive(place: Path, *words: str) -> bytes:
    """What a host does that knows no better."""
    command = ["git", "-c", "safe.directory=*", *words]
    with subprocess.Popen(command, cwd=place, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            return process.communicate(timeout=2)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return b""


def test_the_same_repositories_run_their_commands_where_git_just_opens_them(root):
    """So the tests above can fail."""
    ran = set()
    for vector in EXECUTE:
        place, marks = root / vector.__name__, root / "marks" / vector.__name__
        place.mkdir()
        marks.mkdir()
        it = Hostile(place, marks, root / "secret")
        vector(it)
        for words in NAIVE[: 1 if "fifo" in vector.__name__ else None]:
            naive(place, *words)
        if it.mark.exists():
            ran.add(vector.__name__)
    assert len(ran) >= 10, ran


def test_the_same_repositories_leak_where_git_just_opens_them(root):
    sha = private(root / "secret")
    for vector in LEAK:
        place = root / vector.__name__
        place.mkdir()
        vector(Hostile(place, root / "marks", root / "secret"))
        assert naive(place, "show", f"{sha}:agent.toml") == SECRET, vector.__name__


# ---- hostile objects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTS)
def test_a_hostile_commit_is_refused_for_its_own_reason_or_read_truly(name, config, said):
    make, expected = OBJECTS[name]
    answer = taken_in(make(Objects(config)))
    assert matches(answer, expected), answer


def test_there_are_as_many_as_were_promised():
    assert len(EXECUTE) == 24
    assert len(LEAK) == 5
    assert len(OBJECTS) >= 37


# ---- the sandboxes ----------------------------------------------------------------------------------------------------

LOOK = """echo "uid $(id -u) caps $(grep -c 'Cap.*:.0000000000000000$' /proc/self/status) \
sees $(ls -d /home /root /var /tmp /etc/passwd 2>/dev/null | wc -l) pids $(ls -d /proc/[0-9]* | wc -l) \
net $(grep -c : /proc/net/dev) env $(env | grep -c HIVE_) fds $(ls /proc/self/fd | tr '\\n' ' ') \
writes $(touch /repo/x /usr/x /x 2>/dev/null && echo yes || echo no)." >&2; exit 1"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
@pytest.mark.parametrize(("script", "user"), [("SERVE", lambda: AGENT), ("RECEIVE", allot.git_uid)])
def test_a_sandbox_is_nobody_has_nothing_and_sees_nobody(script, user, config, said, monkeypatch):
    monkeypatch.setenv("HIVE_TEST_SECRET", "x")
    monkeypatch.setattr(intake, script, LOOK)
    taken_in(Objects(config).one())
    assert f"uid {user()} caps 5 sees 0" in said()
    assert re.search(r"pids [1-7] net 1 env 0 ", said()), said()
    assert "writes no." in said()
    # 0 1 2, what `ls` has open itself, and for the receiver its end of the stream.
    assert len(re.search(r"fds ([\d ]+) writes", said())[1].split()) <= 5, said()


def test_a_link_in_the_place_of_the_repository_is_not_followed(config, root):
    sha = private(root / "secret")
    config.rmdir()
    config.symlink_to(root / "secret")
    assert "has no repository" in taken_in(sha)


def test_a_repository_that_is_exchanged_while_it_is_opened_is_not_read(config, root, monkeypatch):
    sha = private(root / "secret")
    (root / "secret").chmod(0o755)
    real = intake._upload

    def exchanged(*args):
        config.rename(root / "was")
        config.symlink_to(root / "secret")
        return real(*args)

    monkeypatch.setattr(intake, "_upload", exchanged)
    with pytest.raises(repos.BadCommit, match="exchanged"):
        repos.fetch("scout", sha, "agent.toml")


@pytest.mark.parametrize("wanted", ["agent.json", "../agent.toml", ""])
def test_only_the_two_files_can_be_wanted(wanted, config):
    with pytest.raises(repos.BadCommit):
        repos.fetch("scout", Objects(config).one(), wanted)


@pytest.mark.parametrize("name", ["../scout", "scout/config", "", "Scout"])
def test_only_an_agent_has_a_repository(name, root):
    with pytest.raises(repos.BadCommit):
        repos.fetch(name, "11" * 20, "agent.toml")


def test_without_bubblewrap_nothing_is_read(config, monkeypatch):
    sha = Objects(config).one()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(repos.BadCommit, match="needs"):
        repos.fetch("scout", sha, "agent.toml")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
@pytest.mark.parametrize("uid", [0, AGENT])
def test_whoever_the_repository_belongs_to_it_is_read(uid, config):
    sha = Objects(config).one()
    owned_by(uid, config)
    assert repos.fetch("scout", sha, "agent.toml").sha == sha


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root to become nobody in particular")
def test_a_hive_of_a_plain_user_reads_it_too(config, root):
    it = Objects(config)
    sha, evil = it.one(), it.one(b"# \x1b\n")
    owned_by(AGENT, root)

    def look(sha: str) -> str:
        try:
            return repos.fetch("scout", sha, "agent.toml").data.decode()
        except repos.BadCommit as bad:
            return str(bad)

    words = as_user(AGENT, lambda: f"{look(sha)}{look(evil)}")
    assert words.startswith('model = "sonnet"\n'), words
    assert "U+001B" in words


def as_user(uid: int, act) -> str:
    """What it answers in a process of that user's; a fork, for our interpreter may be where only root can read it."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with open(reading) as answer:
            words = answer.read()
        os.waitpid(child, 0)
        return words
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.write(writing, act().encode())
    except BaseException as error:  # the child must never return into pytest
        os.write(writing, repr(error).encode())
    finally:
        os._exit(0)
