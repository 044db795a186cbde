"""The one writer: verbs that arrive while a commit runs share the next one, so many verbs cost one fsync.

Jobs of raw statements alone run on the event loop, on a connection of its own, and only their commit in a thread, so that
the loop never waits long for a disk. Every other job runs in the writer's thread, on Django's connection, and whatever comes
while that has work goes there too, so that jobs are done in the order in which they came.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any, NamedTuple

from django.db import DatabaseError, connection, transaction

from . import disk, events, hot
from .later import Later
from .points import reached
from .wire import Refused

# A batch holds the database for a few milliseconds at most, and the loop for fewer.
BATCH, TURN = 128, 0.003
# Seconds that the loop waits for a commit, while commits take no longer than that: to be woken by a thread takes longer.
PATIENCE = 0.001


class Job(NamedTuple):
    """What is to be written, and who hears of it: a future of a thread's, or one of a loop's."""

    do: Callable[[], Any]
    future: Future | Later
    whole: bool  # it refuses before it writes anything, or not at all: no savepoint has to undo it


class Answer(NamedTuple):
    future: Future | Later
    result: Any
    failure: Exception | None

    def give(self) -> None:
        if self.future.done():  # its caller went away
            return
        if self.failure is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.failure)


class Batch(NamedTuple):
    """What one transaction of the loop did."""

    jobs: list[Job]
    answers: list[Answer]
    topics: set[str]


class Broken(Exception):
    """A job without a savepoint failed in the middle: its batch is rolled back."""


class Writer:
    """Runs jobs one after another and answers none before the commit that holds it is on disk."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        # A thread that asks when the last job was taken would wait for ever. It guards `owed` too.
        self.gate, self.ended = threading.RLock(), False
        # Lists of jobs that the thread has not done yet.
        self.owed = 0
        # What came to the loop and is not begun; whether the loop will begin it, or is in the middle of a batch.
        self.coming: list[Job] = []
        self.begins = self.commits = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.own: sqlite3.Connection | None = None
        self.flushes: queue.SimpleQueue[tuple[sqlite3.Connection, Future] | None] = queue.SimpleQueue()
        self.quick = True  # the last commit took no longer than the loop's patience
        self.flusher: threading.Thread | None = None
        # Held by whoever has a transaction open: nobody then has to wait for SQLite, which sleeps longer than it takes.
        self.turn = threading.Lock()

    def start(self) -> None:
        self.ended = False
        self.thread = threading.Thread(target=self.run, name="writer", daemon=True)
        self.thread.start()
        self.flusher = threading.Thread(target=self._flush_all, name="flusher", daemon=True)
        self.flusher.start()

    def submit(self, do: Callable[[], Any]) -> Future:
        """From a thread."""
        future: Future = Future()
        with self.gate:
            if self.ended:
                raise Refused("busy", "The hive is about to stop: ask again when it is back.", "stopping")
            self._put([Job(do, future, False)])
        return future

    def wait(self, do: Callable[[], Any]) -> Any:
        """From a thread, until it is on disk; where no writer runs, here and at once."""
        if self.thread is None:
            with transaction.atomic():
                return do()
        return self.submit(do).result()

    def write(self, do: Callable[[], Any], whole: bool = False) -> Later:
        """From the event loop. A caller that goes away does not undo what its job has begun."""
        loop = asyncio.get_running_loop()
        future = Later(loop)
        if loop is not self.loop:
            self._settle(loop)
        self.coming.append(Job(do, future, whole))
        self._begin_soon()
        return future

    def stop(self) -> None:
        """Finish what was submitted, then end."""
        self._put(self.coming)
        self.coming = []
        with self.gate:
            self.ended = True
            self.jobs.put(None)
            self.flushes.put(None)
        for thread in (self.thread, self.flusher):
            if thread:
                thread.join()
        self.thread = self.flusher = None
        if self.own:
            self.own.close()
        self.own = None

    def _put(self, jobs: list[Job]) -> None:
        if jobs:
            with self.gate:
                self.owed += 1
                self.jobs.put(jobs)

    # ---- on the loop

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve this loop; what an earlier one left behind is the thread's."""
        self._put(self.coming)
        self.coming, self.begins, self.commits, self.loop = [], False, False, loop

    def _begin_soon(self) -> None:
        if self.loop and not self.begins and not self.commits:
            self.begins = True
            self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        """A batch of what has come: here, or in the thread where it has to be."""
        self.begins = False
        if self.owed or not all(job.whole for job in self.coming) or not self._here():
            self._put(self.coming)
            self.coming = []

    def _here(self) -> bool:
        """As much of it as one turn of the loop may take; False, and nothing is done, where it cannot be here."""
        own = self.own
        if not own or not self.turn.acquire(blocking=False):
            return False
        try:
            own.execute("BEGIN IMMEDIATE")
            before = own.total_changes
            handed: list[tuple[Later, Any]] = []
            with events.gathered(handed) as topics, hot.on(own):
                answers = self._some()
                count = len(answers)
                handed += events.offer(topics)
        except Exception:  # the thread waits for who else holds the database, and tells a broken job from the others
            undo(own)
            self.turn.release()
            return False
        answers += [Answer(future, result, None) for future, result in handed]
        batch = Batch(self.coming[:count], answers, topics)
        self.coming = self.coming[count:]
        self.commits = True
        if own.total_changes == before:
            self._committed(batch, self._flush(own))
        else:
            self._send_off(own, batch)
        return True

    def _send_off(self, own: sqlite3.Connection, batch: Batch) -> None:
        flushed: Future = Future()
        self.flushes.put((own, flushed))
        try:
            failure = flushed.result(PATIENCE if self.quick else 0)
        except FutureTimeout:
            flushed.add_done_callback(partial(self._tell, asyncio.get_running_loop(), batch))
        else:
            self._committed(batch, failure)

    def _tell(self, loop: asyncio.AbstractEventLoop, batch: Batch, flushed: Future) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(self._committed, batch, flushed.result())

    def _some(self) -> list[Answer]:
        answers, until = [], time.monotonic() + TURN
        for job in self.coming[:BATCH]:
            try:
                answers.append(Answer(job.future, job.do(), None))
            except Refused as refusal:
                answers.append(Answer(job.future, None, refusal))
            if time.monotonic() > until:
                break
        return answers

    def _committed(self, batch: Batch, failure: Exception | None) -> None:
        self.commits = False
        if failure:
            # Nothing of it is on disk: the thread tries again, and makes room where the disk is full.
            self._put(batch.jobs)
        else:
            give_all(batch.answers)
            events.wake(batch.topics)
        if self.coming:
            self._begin_soon()

    # ---- where a commit waits for the disk

    def _flush_all(self) -> None:
        while some := self.flushes.get():
            own, flushed = some
            begun = time.monotonic()
            failure = self._flush(own)
            self.quick = time.monotonic() - begun < PATIENCE
            flushed.set_result(failure)

    def _flush(self, own: sqlite3.Connection) -> Exception | None:
        """The commit's failure."""
        try:
            own.execute("COMMIT")
        except sqlite3.Error as error:
            undo(own)
            return error
        finally:
            self.turn.release()
        reached("commit.done")
        return None

    # ---- in the thread

    def run(self) -> None:
        with contextlib.suppress(DatabaseError):  # without it all is done here
            self.own = hot.connect()
        going = True
        while going:
            batch, lists, going = self._batch()
            if batch:
                with self.turn:
                    answers = self._commit(batch)
                with self.gate:
                    self.owed -= lists
                give(answers)
        connection.close()

    def _batch(self) -> tuple[list[Job], int, bool]:
        """Wait for a job and take what else is there, and how many lists that were; False when the last has come."""
        batch: list[Job] = []
        lists, some = 0, self.jobs.get()
        while some is not None:
            batch += some
            lists += 1
            if len(batch) >= BATCH or self.jobs.empty():
                return batch, lists, True
            some = self.jobs.get()
        return batch, lists, False

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
        if isinstance(answer.future, Later):
            loops.setdefault(answer.future.get_loop(), []).append(answer)
        else:
            answer.give()
    for loop, some in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(partial(give_all, some))


def give_all(answers: list[Answer]) -> None:
    for answer in answers:
        answer.give()


def undo(own: sqlite3.Connection) -> None:
    if own.in_transaction:  # SQLite may have rolled it back itself
        own.execute("ROLLBACK")


def explain(error: Exception) -> Exception:
    """A full disk and a locked database as the refusals they are; everything else as it came."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, sqlite3.OperationalError):
        if disk.is_full(cause):
            return disk.refusal()
        if "locked" in str(cause):
            return Refused("busy", "The database is held by another process: try again.", "database_locked")
    return error
