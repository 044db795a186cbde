"""Ends what a turn leaves running: a killed claude leaves its Bash children, and they are in sessions of their own.

The harness is their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER), so whatever loses its parent becomes its child, however
it was forked. What an earlier harness left is known by a mark in its environment.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
MARK = "HIVE_JOURNAL_OF"
# Seconds for the kernel to take down what was killed.
PATIENCE = 2.0
# Processes that are no turn's: they and what is below them live on.
_spared: set[int] = set()


def adopt() -> None:
    """From now on orphans below this process become its children."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def spared(pid: int) -> Iterator[None]:
    """Keep it from being swept: it is not the turn's, it only runs beside it."""
    _spared.add(pid)
    try:
        yield
    finally:
        _spared.discard(pid)


async def sweep(mark: str) -> int:
    """Kill whatever is below us or carries the mark, until nothing is left; how many that were."""
    killed: set[int] = set()
    deadline, pause = asyncio.get_running_loop().time() + PATIENCE, 0.001
    while left := _left(mark):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= left
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.05)
    return len(killed)


def _left(mark: str) -> set[int]:
    parents = _parents()
    for pid in [pid for top in _spared for pid in (top, *_below(top, parents))]:
        parents.pop(pid, None)
    below = _below(os.getpid(), parents)
    for pid in [pid for pid in below if _is_zombie(pid)]:
        below.discard(pid)
        # Only a child of our own can be reaped; the others are, once they are ours.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return below | {pid for pid in parents if pid != os.getpid() and _carries(pid, mark)}


def _parents() -> dict[int, int]:
    """Every process and its parent (proc(5))."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = int(_stat(entry)[1])
    return found


def _stat(entry: Path) -> list[str]:
    """State, parent, …: what follows the command's name, which may hold spaces and brackets."""
    return (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _is_zombie(pid: int) -> bool:
    try:
        return _stat(Path(f"/proc/{pid}"))[0] == "Z"
    except OSError:
        return False


def _below(top: int, parents: dict[int, int]) -> set[int]:
    children = defaultdict(list)
    for pid, parent in parents.items():
        children[parent].append(pid)
    found: set[int] = set()
    waiting = [top]
    while waiting:
        for child in children[waiting.pop()]:
            found.add(child)
            waiting.append(child)
    return found


def _carries(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
