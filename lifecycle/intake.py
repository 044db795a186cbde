"""Takes one file out of a repository that an agent can write to, without ever opening that repository.

1. `git upload-pack`, in a sandbox that sees this repository and nothing else, as the user that it belongs to anyway: that
   user gains nothing by what its repository makes git do.
2. `git fetch`, in a second sandbox that sees nothing but the first one's stream, as a user that nothing belongs to. What it
   fetches lies in that sandbox's memory and goes with it.
3. `git cat-file` there hands out commit, tree and blob; lifecycle/objects.py computes their hashes anew, so that no answer
   can be anything but what the sha names.

Facts and figures, and what else was tried: docs/decisions.md.
"""

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from broker.clean import clean

from . import allot, jail, names, objects, paths, safe_fs
from .objects import BadCommit, Blob

SHA = re.compile(r"[0-9a-f]{40}")
WANTED = ("agent.toml", "agent.nix")
# Seconds for all of it; upload-pack gives up before that when it is only waiting.
WALL, PATIENCE = 9.0, 5
# Seconds that the receiver has to say its own words when the other side has failed.
GRACE = 0.5
# So many at once; who comes later waits.
_turns = threading.BoundedSemaphore(2)

TOO_MUCH = "it takes more time or room than a configuration may"
# In what git said -> what it means. The first that is found counts: the later ones also follow from the earlier.
REASONS = {
    r"it was exchanged": "the repository was exchanged while it was being opened",
    r"error: object [0-9a-f]{40}: (.+)": r"git finds fault with it: \1",
    r"not our ref": "the repository has no such commit",
    r"unable to read|did not receive expected|possible repository corruption": "something of it is missing or damaged",
    r"not a git repository|not appear to be a git repository|Invalid path": "there is no git repository that is whole",
    r"(bad config line \d+|bad shallow line)": r"its repository has a \1",
    r"mismatched algorithms": "its repository names commits by another hash than SHA-1",
    # Ended by a limit: most of these ends have no words of their own.
    r"invalid index-pack output|write error|[Oo]ut of memory|memory exhausted": TOO_MUCH,
}

UPLOAD = {"safe.directory": "*"}  # nothing in there to be protected
FETCH = {
    "protocol.allow": "never",
    "protocol.fd.allow": "always",
    "protocol.version": "2",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.bigFileThreshold": "1m",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    # A pack is kept as it came: unpacked, a small one could become any number of files.
    "fetch.unpackLimit": "1",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "safe.bareRepository": "explicit",
}
# Nobody can exchange what is mounted any more, so this is the moment to look whether it is what was opened.
SERVE = """[ "$(stat -c %d:%i /repo)" = "$1" ] || { echo 'it was exchanged while it was being opened' >&2; exit 1; }
exec git upload-pack --strict --timeout="$2" /repo/.git"""
RECEIVE = """set -e
git init --quiet --bare --template= /q/in </dev/null
git --git-dir=/q/in fetch --quiet --depth=1 --no-tags --no-recurse-submodules --no-auto-maintenance \
  --no-write-fetch-head --refmap= "fd::$2" "+$1:refs/hive/in" </dev/null
exec git --git-dir=/q/in cat-file --batch"""


def fetch(name: str, sha: str, wanted: str) -> Blob:
    """The file that is all of commit `sha` of an agent's proposed repository. BadCommit says why it cannot be had."""
    if not isinstance(sha, str) or not SHA.fullmatch(sha):
        raise BadCommit("A commit is named by its whole sha: 40 of 0-9 and a-f, as `git rev-parse HEAD` prints it.")
    if not names.RULE.fullmatch(name) or wanted not in WANTED:
        raise BadCommit(f"There is no {wanted!r} of an agent called {name[:40]!r}.")
    with _turns, _repository(name) as repository, _conversation(sha, repository) as ask:
        return objects.read(sha, wanted, ask)


class Repository(NamedTuple):
    path: str
    facts: os.stat_result


@contextlib.contextmanager
def _repository(name: str) -> Iterator[Repository]:
    """Its directory, reached through no link, and held open so that no other can come to have its number."""
    path = paths.config_dir(name)
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(safe_fs.opened(paths.proposed_dir(), safe_fs.DIRECTORY))
            for part in path.relative_to(paths.proposed_dir()).parts:
                fd = stack.enter_context(safe_fs.opened(part, safe_fs.DIRECTORY, fd))
        except OSError as error:
            raise BadCommit(f"{name} has no repository of a configuration: {error.strerror}.") from None
        yield Repository(str(path), os.fstat(fd))


class _Sandboxes:
    """The two of them, talking to each other; what the second hands out is read from `receiver`."""

    def __init__(self, stack: contextlib.ExitStack, sha: str, repository: Repository):
        self.late = False
        self.words = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(2)]  # noqa: SIM115
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        self.upload = stack.enter_context(_upload(repository, theirs, self.words[0]))
        self.receiver = stack.enter_context(_receive(sha, ours, self.words[1]))
        for end in (ours, theirs):
            end.close()
        clock = threading.Timer(WALL, self._too_late)
        clock.daemon = True
        clock.start()
        stack.callback(clock.cancel)
        threading.Thread(target=self._end_together, daemon=True).start()

    def _too_late(self) -> None:
        self.late = True
        self.upload.kill()
        self.receiver.kill()

    def _end_together(self) -> None:
        """git-remote-fd does not notice when the other side dies: it would wait until it is too late."""
        if self.upload.wait():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.receiver.wait(GRACE)
            self.receiver.kill()

    def why(self) -> str:
        """Why the receiver said no more."""
        code = self.receiver.wait(WALL)
        if self.late:
            return f"it took longer than {WALL:.0f} seconds"
        if max(code, self.upload.poll() or 0) > 128:
            return TOO_MUCH
        return _reason(*(_read(words) for words in self.words))


def _read(words: IO[bytes]) -> str:
    words.seek(0)
    return clean(words.read(32 << 10).decode(errors="replace"))


def _reason(sent: str, received: str) -> str:
    """The first of REASONS that is in what the two of them said, else the last words, of the sender's if it had any."""
    for pattern, reason in REASONS.items():
        if found := re.search(pattern, f"{sent}\n{received}"):
            return found.expand(reason)[:300]
    return ((sent.strip() or received.strip()).splitlines() or ["git gave no reason"])[-1].strip()[:300]


@contextlib.contextmanager
def _conversation(sha: str, repository: Repository) -> Iterator[objects.Ask]:
    """`ask(name, most)` -> type and bytes of one object; BadCommit when there is none, or none so small."""
    try:
        with contextlib.ExitStack() as stack:
            sandboxes = _Sandboxes(stack, sha, repository)
            yield lambda name, most: _object(sandboxes, name, most)
    except jail.NoJail as no:
        raise BadCommit(str(no)) from None


def _upload(repository: Repository, end: socket.socket, words: IO[bytes]) -> Any:
    identity = f"{repository.facts.st_dev}:{repository.facts.st_ino}"
    argv = jail.command(
        ["sh", "-c", SERVE, "sh", identity, str(PATIENCE)],
        repository.facts.st_uid,
        ["--ro-bind", repository.path, "/repo"],
    )
    env = jail.environment(UPLOAD, GIT_PROTOCOL="version=2")
    return jail.running(argv, env, stdin=end, stdout=end, stderr=words)


def _receive(sha: str, end: socket.socket, words: IO[bytes]) -> Any:
    argv = jail.command(["sh", "-c", RECEIVE, "sh", sha, str(end.fileno())], allot.git_uid(), [])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": words, "pass_fds": [end.fileno()]}
    return jail.running(argv, jail.environment(FETCH), **pipes)


def _object(sandboxes: _Sandboxes, name: str, most: int) -> tuple[str, bytes]:
    """One answer of `git cat-file --batch`: a line that says type and size, then the bytes and a newline."""
    asking, answering = sandboxes.receiver.stdin, sandboxes.receiver.stdout
    assert asking
    assert answering
    with contextlib.suppress(BrokenPipeError):
        asking.write(name.encode() + b"\n")
        asking.flush()
    words = answering.readline(200).decode(errors="replace").split()
    if len(words) == 2 and words[1] == "missing":
        raise BadCommit(f"The commit is not whole: object {name} is missing.")
    if len(words) != 3 or not words[2].isdigit():
        raise BadCommit(f"The commit cannot be fetched: {sandboxes.why()}.")
    # One byte too many says that it is too much; the rest is never read.
    data = answering.read(min(int(words[2]), most + 1))
    if len(data) < min(int(words[2]), most + 1) or (len(data) <= most and answering.read(1) != b"\n"):
        raise BadCommit(f"The commit cannot be fetched: {sandboxes.why()}.")
    return words[1], data
