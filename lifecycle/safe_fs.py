"""Touching files that an agent may have shaped to hurt us: by descriptor, never through a link, never across a mount.

Every function starts at a directory that the daemon owns and no agent can write to. Whatever is below may be a symlink,
a FIFO, a device, a tree five thousand deep (facts and figures: docs/decisions.md).
"""

import array
import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# ioctl_iflags(2): what `chattr +i` and `+a` set.
GET_FLAGS, SET_FLAGS, IMMUTABLE_OR_APPEND = 0x80086601, 0x40086602, 0x10 | 0x20
DEEPEST = 200


class Unsafe(OSError):
    """What is there is not what may be touched; the text is a sentence."""


@contextlib.contextmanager
def opened(name: str | Path, flags: int, parent: int | None = None) -> Iterator[int]:
    fd = os.open(name, flags | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


# ---- reading ----------------------------------------------------------------------------------------------------------


def read(root: Path, relative: str, most: int) -> bytes:
    """A regular file below `root`, of at most `most` bytes. Unsafe for anything else, FileNotFoundError for nothing."""
    parts = Path(relative).parts
    if not parts or Path(relative).is_absolute() or ".." in parts:
        raise Unsafe(f"{relative!r} does not name a file below {root}.")
    with contextlib.ExitStack() as stack:
        fd = stack.enter_context(opened(root, DIRECTORY))
        try:
            for part in parts[:-1]:
                fd = stack.enter_context(opened(part, DIRECTORY, fd))
            # Without O_NONBLOCK the open of a FIFO would wait for a writer that never comes.
            fd = stack.enter_context(opened(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, fd))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                raise Unsafe(
                    f"{relative!r} is, or lies behind, something that is not a plain file or directory."
                ) from None
            raise
        return _contents(fd, relative, most)


def _contents(fd: int, name: str, most: int) -> bytes:
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise Unsafe(f"{name!r} is not a plain file with one name.")
    with open(fd, "rb", closefd=False) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise Unsafe(f"{name!r} is longer than {most} bytes.")
    return data


# ---- walking ----------------------------------------------------------------------------------------------------------


def walk(root: Path, deepest: int) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    """The names that lead to each entry below, and what it is; level by level, and no more than `deepest` of them.

    What changes or closes meanwhile is left out.
    """
    waiting: deque[tuple[str, ...]] = deque([()])
    while waiting:
        parts = waiting.popleft()
        with contextlib.suppress(OSError), _below(root, parts) as fd, os.scandir(fd) as entries:
            for entry in entries:
                facts, names = entry.stat(follow_symlinks=False), (*parts, entry.name)
                if stat.S_ISDIR(facts.st_mode) and len(names) < deepest:
                    waiting.append(names)
                yield names, facts


@contextlib.contextmanager
def _below(root: Path, parts: tuple[str, ...]) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        fd = stack.enter_context(opened(root, DIRECTORY))
        for part in parts:
            fd = stack.enter_context(opened(part, DIRECTORY, fd))
        yield fd


# ---- giving -----------------------------------------------------------------------------------------------------------


def give(path: Path, uid: int, mode: int = 0o700) -> None:
    """Make the directory if it is missing and have `uid` own it, with all below when it had another owner."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    with opened(path.parent, DIRECTORY) as parent:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=parent)
        with opened(path.name, DIRECTORY, parent) as fd:
            # The top comes last: a chown that a crash cut short is begun again.
            if os.fstat(fd).st_uid != uid:
                _give_all(fd, uid, 0)
                os.fchown(fd, uid, uid)
            if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
                os.fchmod(fd, mode)


def _give_all(fd: int, uid: int, depth: int) -> None:
    if depth > DEEPEST:
        raise Unsafe(
            f"An agent's directory is more than {DEEPEST} levels deep: thin it out before it changes its owner."
        )
    for name in os.listdir(fd):
        if _is_directory(name, fd):
            with opened(name, DIRECTORY, fd) as child:
                _give_all(child, uid, depth + 1)
        os.chown(name, uid, uid, dir_fd=fd, follow_symlinks=False)


# ---- purging ----------------------------------------------------------------------------------------------------------


@dataclass
class Purged:
    """What a purge removed."""

    path: str
    files: int = 0
    bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "files": self.files, "bytes": self.bytes}


def purge(path: Path) -> Purged | None:
    """Remove the tree; None when there was none. Begun again after a crash it goes on, also with what it had moved aside.

    1. rename it to a name that nobody else knows, 2. take it into our own hands, 3. empty it without ever going deeper
    than one level: sub-directories are moved up first. Unsafe when something is mounted inside.
    """
    done = Purged(str(path))
    _nothing_mounted(path)
    try:
        parent = os.open(path.parent, DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        aside = f".trash.{path.name}."
        with _sentences(path):
            with contextlib.suppress(FileNotFoundError):
                os.rename(path.name, aside + secrets.token_hex(8), src_dir_fd=parent, dst_dir_fd=parent)
            trash = [name for name in os.listdir(parent) if name.startswith(aside)]
            for name in trash:
                _remove(name, parent, done)
        return done if trash else None
    finally:
        os.close(parent)


def _nothing_mounted(path: Path) -> None:
    """Before anything is moved, so that the operator finds the mount where he made it. The descent checks again."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    real = os.path.realpath(path.parent) + "/" + path.name
    for place in (place.encode().decode("unicode_escape") for place in places):
        if place == real or place.startswith(real + "/"):
            raise Unsafe(f"Something is mounted at {place}: unmount it, then purge again.")


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EXDEV):
            raise Unsafe(f"Something is mounted at or below {path}: unmount it, then purge again.") from None
        raise


def _remove(name: str, parent: int, done: Purged) -> None:
    if not _is_directory(name, parent):
        _unlink(name, parent, done)
        return
    with _taken(name, parent) as root:
        while names := os.listdir(root):
            for child in names:
                _flatten(child, root, done)
    os.rmdir(name, dir_fd=parent)


def _flatten(name: str, root: int, done: Purged) -> None:
    """Remove one entry of the root; of a directory, its files go and its sub-directories become entries of the root."""
    if not _is_directory(name, root):
        _unlink(name, root, done)
        return
    with _taken(name, root) as fd:
        for child in os.listdir(fd):
            if _is_directory(child, fd):
                with _taken(child, fd):
                    os.rename(child, secrets.token_hex(16), src_dir_fd=fd, dst_dir_fd=root)
            else:
                _unlink(child, fd, done)
    os.rmdir(name, dir_fd=root)


@contextlib.contextmanager
def _taken(name: str, parent: int) -> Iterator[int]:
    """A directory made ours: no mount, not immutable, and writable for whoever we are."""
    with opened(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, parent) as handle:
        if _mount(handle) != _mount(parent):
            raise OSError(errno.EBUSY, "a mount")
        by_handle = f"/proc/self/fd/{handle}"
        with contextlib.suppress(PermissionError):
            os.chmod(by_handle, 0o700)
        fd = os.open(by_handle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _loosen(fd)
        if os.geteuid() == 0:
            os.fchown(fd, 0, 0)
        os.fchmod(fd, 0o700)
        yield fd
    finally:
        os.close(fd)


def _unlink(name: str, parent: int, done: Purged) -> None:
    size = os.stat(name, dir_fd=parent, follow_symlinks=False).st_size
    try:
        os.unlink(name, dir_fd=parent)
    except PermissionError:
        with opened(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, parent) as fd:
            _loosen(fd)
        os.unlink(name, dir_fd=parent)
    done.files += 1
    done.bytes += size


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _mount(fd: int) -> str:
    """The id of the mount that the descriptor is on (proc(5), fdinfo): equal devices do not tell a bind mount."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(line for line in lines if line.startswith("mnt_id:"))


def _loosen(fd: int) -> None:
    """Undo `chattr +i` and `+a`; a file system without such flags has nothing to undo."""
    flags = array.array("L", [0])
    try:
        fcntl.ioctl(fd, GET_FLAGS, flags, True)
        if flags[0] & IMMUTABLE_OR_APPEND:
            flags[0] &= ~IMMUTABLE_OR_APPEND
            fcntl.ioctl(fd, SET_FLAGS, flags)
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
            raise
