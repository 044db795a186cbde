"""The one writer: verbs that arrive while a commit runs share the next one, so many verbs cost one fsync."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from django.db import DatabaseError, connection, transaction

from .wire import Refused

# A batch holds the database for a few milliseconds at most.
BATCH = 128

Job = tuple[Callable[[], Any], Future]


class Writer:
    """Runs jobs one after another, each in a savepoint, and answers none before the commit that holds it is on disk."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=self.run, name="writer", daemon=True)
        self.thread.start()

    def submit(self, job: Callable[[], Any]) -> Future:
        future: Future = Future()
        self.jobs.put((job, future))
        return future

    async def write(self, job: Callable[[], Any]) -> Any:
        """From the event loop. A caller that goes away does not undo what its job has begun."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(job)))

    def stop(self) -> None:
        """Finish what was submitted, then end."""
        self.jobs.put(None)
        if self.thread:
            self.thread.join()

    def run(self) -> None:
        going = True
        while going:
            batch, going = self._batch()
            if batch:
                self._commit(batch)
        connection.close()

    def _batch(self) -> tuple[list[Job], bool]:
        """Wait for a job and take what else is there; False when the last has come."""
        batch: list[Job] = []
        job = self.jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) >= BATCH or self.jobs.empty():
                return batch, True
            job = self.jobs.get()
        return batch, False

    def _commit(self, batch: list[Job]) -> None:
        answers: list[tuple[Future, Any, Exception | None]] = []
        try:
            with transaction.atomic():
                for job, future in batch:
                    answers.append(self._run(job, future))
        except Exception as error:  # nothing of this batch is on disk: each of its callers has to hear it
            for _, future in batch:
                future.set_exception(explain(error))
            return
        for future, result, failure in answers:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _run(self, job: Callable[[], Any], future: Future) -> tuple[Future, Any, Exception | None]:
        try:
            with transaction.atomic():
                return future, job(), None
        except Exception as error:  # one job's refusal must not undo its neighbours'; the caller gets it
            return future, None, explain(error)


def explain(error: Exception) -> Exception:
    """A full disk and a locked database as the refusals they are; everything else as it came."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, sqlite3.OperationalError):
        if "full" in str(cause) or "disk I/O" in str(cause):
            return Refused(
                "busy", "The disk that holds the hive is full: free some space, then try again.", "disk_full"
            )
        if "locked" in str(cause):
            return Refused("busy", "The database is held by another process: try again.", "database_locked")
    return error
