"""One run of an agent, as run.json, status.jsonl and run.lock tell it: taken up again by any later process, never by pid alone.

A pid is somebody else's as soon as its process has ended. So: the boot must be the same, a pidfd is opened first, and only
then is the start time compared; from there on the pidfd names that very process.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.models import boot_id

from .launch import identity
from .spec import DriverError, Status

# Seconds that the kernel gets to clear away what was killed, and an outer process to write the exit code.
CLEARING, MOMENT = 10.0, 1.0


class Run:
    def __init__(self, place: Path):
        self.place = place

    def record(self) -> dict[str, Any]:
        """run.json, or what can be told without it: a crash may have come between the start and its writing."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.place / "run.json").read_text())
        pid = next((line["child-pid"] for line in self._lines() if "child-pid" in line), None)
        if not pid:
            return {}
        init = identity(pid) if self.locked() else None
        return {"boot": boot_id(), "init": init, "outer": None, "at": None, "fingerprint": ""}

    def _lines(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(OSError, ValueError):
            for line in (self.place / "status.jsonl").read_text().splitlines():
                yield json.loads(line)

    def locked(self) -> bool:
        """True while any process that inherited the lock lives, whether or not we know its pid."""
        try:
            lock = os.open(self.place / "run.lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody held the lock: as long as we are in here, nobody else gets it."""
        try:
            lock = os.open(self.place / "run.lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield True
            return
        try:
            yield taken(lock)
        finally:
            os.close(lock)

    def exit_code(self) -> int | None:
        return next((line["exit-code"] for line in self._lines() if "exit-code" in line), None)

    def status(self) -> Status:
        record = self.record()
        if not record:
            return Status("running", watched=False) if self.locked() else Status("absent")
        at = datetime.fromtimestamp(record["at"], UTC) if record["at"] else None
        with held(record, "init") as init:
            if init is not None:
                with held(record, "outer") as outer:
                    return Status("running", record["init"]["pid"], at, None, record["fingerprint"], outer is not None)
        return Status("stopped", None, at, self.exit_code(), record["fingerprint"])

    # ---- ending it

    def end(self, grace: float) -> None:
        """SIGTERM to its first process, SIGKILL after `grace` seconds, and DriverError unless it is seen to be gone."""
        record = self.record()
        with held(record, "init") as init, held(record, "outer") as outer:
            if init is not None:
                if grace > 0:
                    signal.pidfd_send_signal(init, signal.SIGTERM)
                if not ended(init, grace):
                    # The first process of a pid namespace takes all others with it (pid_namespaces(7)).
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(init, signal.SIGKILL)
                if not ended(init, CLEARING):
                    raise DriverError(
                        f"Process {record['init']['pid']} of {self.place.name} does not end, not even killed."
                    )
            # The outer one still has the exit code to write.
            if outer is not None and not ended(outer, CLEARING):
                signal.pidfd_send_signal(outer, signal.SIGKILL)
                ended(outer, CLEARING)
        self._clear_lock()
        if init is not None and outer is None:
            self._await_exit_code()

    def _clear_lock(self) -> None:
        """Whoever still holds the lock a moment later is of this agent, known to us or not."""
        begun = time.monotonic()
        while self.locked():
            for pid in holders(self.place / "run.lock") if time.monotonic() > begun + MOMENT else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > begun + CLEARING:
                raise DriverError(f"Something of {self.place.name} still runs: it holds {self.place / 'run.lock'}.")
            time.sleep(0.02)

    def _await_exit_code(self) -> None:
        """There may be an outer process that we do not know, with the exit code still to write."""
        until = time.monotonic() + MOMENT
        while self.exit_code() is None and time.monotonic() < until:
            time.sleep(0.02)

    def wait(self, seconds: float) -> bool:
        """True once it has ended and its exit code, if anybody saw it, is written."""
        record = self.record()
        with held(record, "init") as init, held(record, "outer") as outer:
            if init is not None and not ended(init, seconds):
                return False
            if outer is not None:
                ended(outer, CLEARING)
        return True


def taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def attach(record: dict[str, Any], which: str) -> int | None:
    """A pidfd of the process that the record names, or None: ended, another boot's, or somebody else by now."""
    who = record.get(which)
    if not who or record.get("boot") != boot_id():
        return None
    try:
        fd = os.pidfd_open(who["pid"])
    except (OSError, OverflowError, ValueError):
        return None
    if identity(who["pid"]) != who:
        os.close(fd)
        return None
    return fd


@contextlib.contextmanager
def held(record: dict[str, Any], which: str) -> Iterator[int | None]:
    fd = attach(record, which)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def ended(pidfd: int, seconds: float) -> bool:
    """True when the process has ended within that time (pidfd_open(2): readable at its end)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def holders(path: Path) -> list[int]:
    """The processes, but for ourselves, that have the file open."""
    there = path.stat()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if any(os.path.samestat(fd.stat(), there) for fd in (entry / "fd").iterdir()):
                    found.append(int(entry.name))
    return found
