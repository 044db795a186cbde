"""The host's own repository of what was approved for an agent: one commit each time it changed, written by nobody else.

GitPython touches this repository and no other. It is bare, so no file of it is ever checked out; its objects and its one
branch are written in this process, by Python, and what comes from outside is only ever data in them: never an argument.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

# GitPython hands on whatever of these it finds: they are somebody else's repository, index or identity.
for _name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[_name]
# Without a git it would not even be imported; `hive serve` and `hive doctor` say in a sentence that there is none.
os.environ["GIT_PYTHON_REFRESH"] = "quiet"

import git  # noqa: E402
import gitdb  # noqa: E402
from gitdb.exc import ODBError  # noqa: E402

from broker import points  # noqa: E402
from broker.clean import clean  # noqa: E402

from . import paths, safe_fs  # noqa: E402
from .objects import BadCommit  # noqa: E402

del os.environ["GIT_PYTHON_REFRESH"]

FILES = ("agent.toml", "agent.nix")
BRANCH = "refs/heads/main"
REV = re.compile(r"[0-9a-f]{40}")
MAIL = "hive@localhost"
HOST = git.Actor("hyperhive", MAIL)
# No configuration but its own, and no template: either could change how a repository is laid out, or bring hooks.
ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TEMPLATE_DIR": ""}


class Applied:
    """What is, and what was, applied to one agent."""

    def __init__(self, name: str):
        self.name = name
        self.place: Path = paths.applied_dir(name) / "repo.git"

    # ---- reading

    def current(self) -> bytes | None:
        """The agent.toml or agent.nix that was committed last; None before the first."""
        with self._open() as repo:
            head = _head(repo)
            files = _files(head) if head else {}
        return next((files[file] for file in FILES if file in files), None)

    def history(self) -> list[dict[str, str]]:
        """Every commit, the newest first."""
        with self._open() as repo:
            return [_entry(commit) for commit in _line(_head(repo))]

    def read(self, rev: str, file: str) -> bytes:
        """The file as it was at that commit; BadCommit when there is no such commit, or no such file in it."""
        with self._open() as repo:
            files = _files(self._commit(repo, rev))
        if file not in files:
            raise BadCommit(f"Revision {rev[:12]} of {self.name} has no {file}.")
        return files[file]

    # ---- writing

    def commit(self, files: dict[str, bytes], message: str, author: str) -> str:
        """These files and no others are applied from now on; the sha of the commit that says so."""
        with self._alone(), self._open() as repo:
            return _write(repo, files, message, author)

    def revert_to(self, rev: str, author: str = "operator") -> str:
        """What that commit held is applied again, in a commit of its own."""
        with self._alone(), self._open() as repo:
            return _write(repo, _files(self._commit(repo, rev)), f"Back to {rev[:12]}", author)

    # ---- how

    def _commit(self, repo: git.Repo, rev: str) -> git.Commit:
        """One of this branch, by its whole sha."""
        found = next((commit for commit in _line(_head(repo)) if commit.hexsha == rev), None)
        if found is None:
            raise BadCommit(f"{rev[:40]!r} is no revision of {self.name}.")
        return found

    @contextlib.contextmanager
    def _open(self) -> Iterator[git.Repo]:
        if not (self.place / "HEAD").exists():
            self._init()
        repo = git.Repo(self.place, expand_vars=False)
        try:
            yield repo
        except (ODBError, ValueError, KeyError) as error:
            raise BadCommit(f"The applied repository of {self.name} is damaged: {error!r}.") from error
        finally:
            repo.close()

    def _init(self) -> None:
        safe_fs.give(paths.applied_dir(self.name), os.geteuid(), 0o700)
        git.Repo.init(self.place, mkdir=True, bare=True, initial_branch="main", object_format="sha1", env=ALONE).close()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time; so a lock of git's that lies about was left by one that was killed."""
        safe_fs.give(paths.applied_dir(self.name), os.geteuid(), 0o700)
        with open(paths.applied_dir(self.name) / "repo.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (self.place / f"{BRANCH}.lock").unlink(missing_ok=True)
            yield


# ---- in an open repository --------------------------------------------------------------------------------------------


def _head(repo: git.Repo) -> git.Commit | None:
    """None before the first commit only: a branch that names what is not there is damage."""
    return git.Head(repo, BRANCH).commit if (Path(repo.common_dir) / BRANCH).exists() else None


def _line(commit: git.Commit | None) -> Iterator[git.Commit]:
    while commit:
        yield commit
        commit = next(iter(commit.parents), None)


def _files(commit: git.Commit) -> dict[str, bytes]:
    return {str(blob.name): blob.data_stream.read() for blob in commit.tree.blobs}


def _entry(commit: git.Commit) -> dict[str, str]:
    at = datetime.fromtimestamp(commit.committed_date, UTC)
    by, message = str(commit.author.name), str(commit.message)
    return {"rev": commit.hexsha, "at": at.isoformat(), "by": by, "message": message.strip()}


def _write(repo: git.Repo, files: dict[str, bytes], message: str, author: str) -> str:
    """Objects first, each on disk before the branch that names it: a crash leaves the old commit or the new one."""
    entries = [(store(repo, "blob", data), 0o100644, name) for name, data in sorted(files.items())]
    tree = BytesIO()
    git.objects.fun.tree_to_stream(entries, tree.write)
    now, head = datetime.now(UTC), _head(repo)
    commit = git.Commit.create_from_tree(
        repo,
        git.Tree(repo, store(repo, "tree", tree.getvalue())),
        clean(message) + "\n",
        [head] if head else [],
        author=git.Actor(re.sub(r"[<>\s]+", " ", clean(author))[:80].strip() or "unknown", MAIL),
        committer=HOST,
        author_date=now,
        commit_date=now,
    )
    _sync(repo, commit.binsha)
    points.reached("applied.commit.within")
    git.Head(repo, BRANCH).set_object(commit)
    _flush(Path(repo.common_dir) / BRANCH)
    return commit.hexsha


def store(repo: git.Repo, kind: str, data: bytes) -> bytes:
    stored: Any = repo.odb.store(gitdb.IStream(kind.encode(), len(data), BytesIO(data)))
    _sync(repo, stored.binsha)
    return stored.binsha


def _sync(repo: git.Repo, binsha: bytes) -> None:
    _flush(Path(repo.common_dir) / "objects" / binsha.hex()[:2] / binsha.hex()[2:])


def _flush(path: Path) -> None:
    """The file and its name are on disk when this returns."""
    for place in (path, path.parent):
        with safe_fs.opened(place, os.O_RDONLY) as fd:
            os.fsync(fd)
