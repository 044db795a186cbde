"""The one writer: verbs that arrive while a commit runs share the next one, so many verbs cost one fsync."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from django.db import DatabaseError, connection, transaction

from . import disk, events
from .points import reached
from .wire import Refused

# A batch holds the database for a few milliseconds at most.
BATCH = 128


class Job(NamedTuple):
    """What is to be written, and who hears of it: a future of a thread's, or one of a loop's."""

    do: Callable[[], Any]
    future: "Future | asyncio.Future"
    whole: bool  # it refuses before it writes anything, or not at all: no savepoint has to undo it


class Answer(NamedTuple):
    future: "Future | asyncio.Future"
    result: Any
    failure: Exception | None

    def give(self) -> None:
        if self.future.done():  # its caller went away
            return
        if self.failure is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.failure)


class Broken(Exception):
    """A job without a savepoint failed in the middle: its batch is rolled back."""


class Writer:
    """Runs jobs one after another and answers none before the commit that holds it is on disk."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        # A thread that asks when the last job was taken would wait for ever.
        self.gate, self.ended = threading.Lock(), False
        # What one turn of the loop brings goes to the thread in one piece.
        self.coming: list[Job] = []

    def start(self) -> None:
        self.ended = False
        self.thread = threading.Thread(target=self.run, name="writer", daemon=True)
        self.thread.start()

    def submit(self, do: Callable[[], Any]) -> Future:
        """From a thread."""
        future: Future = Future()
        with self.gate:
            if self.ended:
                raise Refused("busy", "The hive is about to stop: ask again when it is back.", "stopping")
            self.jobs.put([Job(do, future, False)])
        return future

    def wait(self, do: Callable[[], Any]) -> Any:
        """From a thread, until it is on disk; where no writer runs, here and at once."""
        if self.thread is None:
            with transaction.atomic():
                return do()
        return self.submit(do).result()

    def write(self, do: Callable[[], Any], whole: bool = False) -> asyncio.Future:
        """From the event loop. A caller that goes away does not undo what its job has begun."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not self.coming:
            loop.call_soon(self._hand_over)
        self.coming.append(Job(do, future, whole))
        return future

    def _hand_over(self) -> None:
        self.jobs.put(self.coming)
        self.coming = []

    def stop(self) -> None:
        """Finish what was submitted, then end."""
        if self.coming:
            self._hand_over()
        with self.gate:
            self.ended = True
            self.jobs.put(None)
        if self.thread:
            self.thread.join()
        self.thread = None

    def run(self) -> None:
        going = True
        while going:
            batch, going = self._batch()
            if batch:
                give(self._commit(batch))
        connection.close()

    def _batch(self) -> tuple[list[Job], bool]:
        """Wait for a job and take what else is there; False when the last has come."""
        batch: list[Job] = []
        some = self.jobs.get()
        while some is not None:
            batch += some
            if len(batch) >= BATCH or self.jobs.empty():
                return batch, True
            some = self.jobs.get()
        return batch, False

    def _commit(self, batch: list[Job]) -> list[Answer]:
        try:
            with events.gathered() as topics, transaction.atomic():
                answers = [self._run(job) for job in batch]
        except Broken:
            # Nothing of it is on disk: once more, each by itself, so that only the broken one fails.
            return [answer for job in batch for answer in self._commit([job._replace(whole=False)])]
        except Exception as error:  # the commit itself failed: each of its callers has to hear it
            if disk.is_full(error) and disk.release():
                return self._commit(batch)  # nothing of it is on disk, and now there is room for it
            return [Answer(job.future, None, explain(error)) for job in batch]
        reached("commit.done")
        if topics:
            events.publish(*topics)
        return answers

    def _run(self, job: Job) -> Answer:
        try:
            if job.whole:
                return Answer(job.future, job.do(), None)
            with transaction.atomic():
                return Answer(job.future, job.do(), None)
        except Refused as refusal:
            return Answer(job.future, None, refusal)
        except Exception as error:  # one job's failure must not undo its neighbours'; the caller gets it
            if disk.is_full(error):
                raise  # SQLite has rolled everything back (sqlite.org/lang_transaction.html, 3.1)
            if job.whole:
                raise Broken from error
            return Answer(job.future, None, explain(error))


# The one of this process: on the host every verb that changes something goes through it.
writer = Writer()


def give(answers: list[Answer]) -> None:
    """Each loop is woken once for all that it waits for."""
    loops: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for answer in answers:
        if isinstance(answer.future, asyncio.Future):
            loops.setdefault(answer.future.get_loop(), []).append(answer)
        else:
            answer.give()
    for loop, some in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(partial(give_all, some))


def give_all(answers: list[Answer]) -> None:
    for answer in answers:
        answer.give()


def explain(error: Exception) -> Exception:
    """A full disk and a locked database as the refusals they are; everything else as it came."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, sqlite3.OperationalError):
        if disk.is_full(cause):
            return disk.refusal()
        if "locked" in str(cause):
            return Refused("busy", "The database is held by another process: try again.", "database_locked")
    return error
