"""Threads that carry out what the table says, one at a time per agent. A nudge only hurries: the row is the order.

In a command or a test nothing was started, and a nudge does nothing.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial

from django.db import connections, transaction

log = logging.getLogger("hive.lifecycle")

# Starts that may be under way at once: more would only make each of them slower.
AT_ONCE = 8

stopping = threading.Event()
_job: Callable[[str], None] | None = None
_lock = threading.Lock()
_room = threading.BoundedSemaphore(AT_ONCE)
# Name -> nudged again while it was being worked on.
_busy: dict[str, bool] = {}
_threads: set[threading.Thread] = set()


class Stopping(Exception):
    """The daemon ends: what is under way stays in the table and is taken up again at the next start."""


def start(job: Callable[[str], None]) -> None:
    """From now on a nudge runs `job(name)`."""
    global _job
    stopping.clear()
    _job = job


def stop(seconds: float = 3.0) -> None:
    """Begin nothing new, and wait so long for what is under way."""
    global _job
    _job = None
    stopping.set()
    for thread in tuple(_threads):
        thread.join(seconds)


def nudge(name: str) -> None:
    with _lock:
        if _job is None:
            return
        if name in _busy:
            _busy[name] = True
            return
        _busy[name] = False
        # Daemon threads, not an executor's: those would keep a stopped daemon alive for the length of a stop's grace.
        thread = threading.Thread(target=_work, args=(name, _job), name=f"agent-{name}", daemon=True)
        _threads.add(thread)
    thread.start()


def nudge_on_commit(name: str) -> None:
    transaction.on_commit(partial(nudge, name))


def busy(name: str) -> bool:
    with _lock:
        return name in _busy


def pause(seconds: float) -> None:
    """Sleep in a job; Stopping when the daemon ends meanwhile."""
    if stopping.wait(seconds):
        raise Stopping


def _work(name: str, job: Callable[[str], None]) -> None:
    try:
        again = True
        while again:
            with _room:
                _do(name, job)
            with _lock:
                again = _busy[name] and not stopping.is_set()
                _busy[name] = False
                if not again:
                    del _busy[name]
    finally:
        connections.close_all()
        _threads.discard(threading.current_thread())


def _do(name: str, job: Callable[[str], None]) -> None:
    try:
        job(name)
    except Stopping:
        pass
    except Exception:  # the row still says what is to be done, and the next tick nudges again
        log.exception("%s: what its row asks for could not be carried out", name)
