"""Many verbs, one commit; one verb's failure is its own."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from django.db import OperationalError, connection

from broker import events, hot
from broker.events import Taker
from broker.models import Mailbox, Message
from broker.wire import Refused
from broker.writer import Writer, explain

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def writer():
    Mailbox.objects.create(name="scout")
    Mailbox.objects.create(name="hm1nd")
    writer = Writer()
    writer.start()
    yield writer
    writer.stop()


def hold(writer: Writer) -> threading.Event:
    """Keep the writer busy, so that what is submitted meanwhile makes one batch."""
    go = threading.Event()
    writer.submit(go.wait)
    return go


def test_what_was_answered_is_there_for_another_connection(writer: Writer) -> None:
    message = writer.submit(lambda: Message.send("hm1nd", "scout", "hi")).result(10)
    with sqlite3.connect(connection.settings_dict["NAME"]) as other:
        assert other.execute("SELECT body FROM broker_message WHERE id = ?", [message.pk]).fetchone() == ("hi",)
    other.close()


def test_one_refusal_does_not_undo_its_neighbours(writer: Writer) -> None:
    go = hold(writer)
    good = writer.submit(lambda: Message.send("hm1nd", "scout", "one"))
    bad = writer.submit(lambda: Message.send("hm1nd", "nobody", "two"))
    also = writer.submit(lambda: Message.send("hm1nd", "scout", "three"))
    go.set()
    assert good.result(10).body == "one"
    with pytest.raises(Refused):
        bad.result(10)
    assert also.result(10).body == "three"
    assert Message.objects.count() == 2


def test_many_senders_share_a_commit(writer: Writer) -> None:
    commits = []
    writer._commit = lambda batch, commit=writer._commit: commits.append(len(batch)) or commit(batch)  # type: ignore[method-assign]
    go = hold(writer)
    sent = [writer.submit(lambda n=n: Message.send("hm1nd", "scout", f"{n}")) for n in range(100)]
    go.set()
    assert len({future.result(10).pk for future in sent}) == 100
    assert len(commits) <= 3


def test_a_full_disk_is_a_sentence() -> None:
    error = OperationalError("database or disk is full")
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    refusal = explain(error)
    assert isinstance(refusal, Refused)
    assert refusal.word == "disk_full"


def test_a_commit_is_on_disk_before_anybody_hears_of_it() -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: fsync at every commit"
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_each_connection_keeps_a_megabyte_of_pages_at_most() -> None:
    own = hot.connect()
    kept = [asked("PRAGMA cache_size").fetchone() for asked in (connection.cursor().execute, own.execute)]
    own.close()
    assert kept == [(-1000,), (-1000,)]


def test_a_job_that_breaks_without_a_savepoint_leaves_its_neighbours_whole(writer: Writer) -> None:
    def broken() -> None:
        Message.post("hm1nd", "scout", "half", cid="half-0001")
        raise ZeroDivisionError

    async def all_at_once() -> list:
        posts = [partial(Message.post, "hm1nd", "scout", f"{n}") for n in range(3)]
        jobs = [writer.write(job, whole=True) for job in (posts[0], broken, *posts[1:])]
        return await asyncio.gather(*jobs, return_exceptions=True)

    first, failed, *others = asyncio.run(all_at_once())
    assert isinstance(failed, ZeroDivisionError)
    assert [row["body"] for row in (first, *others)] == ["0", "1", "2"]
    assert list(Message.objects.values_list("body", flat=True)) == ["0", "1", "2"]


def test_a_caller_that_went_away_does_not_undo_what_was_begun(writer: Writer) -> None:
    async def go_away() -> None:
        posting = asyncio.ensure_future(writer.write(partial(Message.post, "hm1nd", "scout", "on its way"), whole=True))
        await asyncio.sleep(0)
        posting.cancel()

    asyncio.run(go_away())
    writer.submit(lambda: None).result(10)
    assert Message.objects.get().body == "on its way"


# ---- on the loop


async def ready(writer: Writer) -> None:
    while writer.own is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_raw_jobs_run_on_the_loop_and_all_others_in_the_thread(writer: Writer) -> None:
    async def where(do, whole: bool) -> str:
        def job() -> str:
            do()
            return threading.current_thread().name

        await ready(writer)
        return await writer.write(job, whole=whole)

    raw = partial(Message.post, "hm1nd", "scout", "raw")
    orm = partial(Message.send, "hm1nd", "scout", "by the ORM")
    assert asyncio.run(where(raw, whole=True)) == "MainThread"
    assert asyncio.run(where(raw, whole=False)) == "writer"
    assert asyncio.run(where(orm, whole=True)) == "writer", "the ORM cannot be asked on a loop: the thread does it"
    assert Message.objects.count() == 3


def test_who_else_holds_the_database_is_waited_for_and_the_loop_goes_on(writer: Writer) -> None:
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)

    async def send() -> str:
        await ready(writer)
        other.execute("BEGIN IMMEDIATE")
        sending = writer.write(partial(Message.post, "hm1nd", "scout", "late"), whole=True)
        await asyncio.sleep(0.1)
        assert not sending.done()
        other.execute("COMMIT")
        return (await sending)["body"]

    assert asyncio.run(send()) == "late"
    other.close()


def test_jobs_are_done_in_the_order_in_which_they_came(writer: Writer) -> None:
    done: list[int] = []

    async def some() -> None:
        await ready(writer)
        await asyncio.gather(*(writer.write(partial(done.append, n), whole=n % 3 > 0) for n in range(50)))
        for n in range(50, 100):
            writer.write(partial(done.append, n), whole=n % 3 > 0)
            if n % 7 == 0:
                await asyncio.sleep(0)
        await writer.write(lambda: None, whole=True)

    asyncio.run(some())
    assert done == list(range(100))


def test_what_the_thread_owes_comes_first_also_when_it_has_not_begun(writer: Writer) -> None:
    done: list[str] = []

    def late(batch=writer._batch) -> tuple:
        some = batch()
        time.sleep(0.1)
        return some

    async def two() -> None:
        await ready(writer)
        await writer.write(lambda: None)  # whoever waits for jobs already did not begin late
        first = writer.write(partial(done.append, "thread"))
        await asyncio.sleep(0.02)
        await asyncio.gather(first, writer.write(partial(done.append, "loop"), whole=True))

    writer._batch = late  # type: ignore[method-assign]
    asyncio.run(two())
    assert done == ["thread", "loop"]


def test_a_reader_that_waits_is_served_by_the_transaction_that_sends(writer: Writer) -> None:
    async def talk() -> tuple[list, int]:
        events.start(asyncio.get_running_loop())
        await ready(writer)
        take = partial(Message.take, "scout", "turn-0001", "turn-0001", 60)
        waiting = Taker("inbox:scout", take, [], writer.write, 10)
        await asyncio.sleep(0.05)
        commits: list[int] = []
        writer._flush = lambda *batch, flush=writer._flush: commits.append(1) or flush(*batch)  # type: ignore[method-assign]
        await writer.write(partial(Message.post, "hm1nd", "scout", "for you"), whole=True)
        return await waiting, len(commits)

    [message], commits = asyncio.run(talk())
    assert (message["body"], message["state"], commits) == ("for you", "claimed", 1)


class AtCommit:
    """The loop's connection, to which something happens when it comes to the commit."""

    def __init__(self, own: sqlite3.Connection, what: Callable[[], object]):
        self.own, self.what = own, what

    def __getattr__(self, name: str):
        return getattr(self.own, name)

    def execute(self, statement: str, *params):
        if statement == "COMMIT":
            self.what()
        return self.own.execute(statement, *params)


def test_the_loop_goes_on_while_a_disk_is_slow_and_answers_when_it_is_done(writer: Writer) -> None:
    on_disk = threading.Event()

    async def send() -> str:
        await ready(writer)
        writer.own = AtCommit(writer.own, on_disk.wait)  # type: ignore[assignment,arg-type]
        sending = writer.write(partial(Message.post, "hm1nd", "scout", "slow"), whole=True)
        await asyncio.sleep(0.05)
        assert not sending.done()
        on_disk.set()
        slow = await sending
        assert not writer.quick, "the next commit is not waited for"
        writer.own = writer.own.own  # type: ignore[union-attr]
        await writer.write(partial(Message.post, "hm1nd", "scout", "after it"), whole=True)
        return slow["body"]

    assert asyncio.run(send()) == "slow"


def test_a_commit_that_fails_on_the_loop_is_tried_again_in_the_thread(writer: Writer) -> None:
    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async def send() -> str:
        await ready(writer)
        writer.own = AtCommit(writer.own, full)  # type: ignore[assignment,arg-type]
        return (await writer.write(partial(Message.post, "hm1nd", "scout", "twice tried"), whole=True))["body"]

    assert asyncio.run(send()) == "twice tried"
    assert Message.objects.count() == 1
