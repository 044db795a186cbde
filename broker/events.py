"""Wake-ups: `publish(topic)` says *that* something changed, rows say *what*. Lost or doubled, a wake-up loses nothing.

Topics are words such as `inbox:scout`, `control:scout`, `containers`, `approvals`, `messages`, `events:scout`.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import transaction

from . import due
from .later import Later

_loop: asyncio.AbstractEventLoop | None = None
# Topics that were looked into in vain and have not been published since, each with who may find something there all the same.
_quiet: dict[str, Any] = {}
_thread = threading.local()
_listeners: dict[str, set["Subscription"]] = defaultdict(set)
# Who would take what a transaction has for a topic, within that transaction.
_takers: dict[str, list["Taker"]] = defaultdict(list)
# Of one mailbox at most one turn is served at a time: to ask more of them would be in vain.
ASKED = 2


def start(loop: asyncio.AbstractEventLoop) -> None:
    """Wake-ups are delivered on this loop from now on; before, and in a command, publishing does nothing."""
    global _loop
    _loop = loop
    _quiet.clear()


def publish(*topics: str) -> None:
    """Wake whoever listens; from any thread, at once."""
    if _loop is None or _loop.is_closed():
        return
    # The channel layer is no help here: a group_send from a thread wakes nobody for seconds (docs/decisions.md).
    _loop.call_soon_threadsafe(wake, topics)


def publish_on_commit(*topics: str) -> None:
    """Wake whoever listens once the rows are really there."""
    if (gathered := getattr(_thread, "topics", None)) is not None:
        gathered.update(topics)
    else:
        transaction.on_commit(partial(publish, *topics))


@contextmanager
def gathered(handed: list[tuple[Later, Any]] | None = None) -> Iterator[set[str]]:
    """Of a batch of jobs in this thread, what is to be published once it is committed: each topic once.

    On the loop, `handed` is what takers get besides, once it is committed.
    """
    topics: set[str] = set()
    _thread.topics, _thread.handed = topics, handed
    try:
        yield topics
    finally:
        _thread.topics = _thread.handed = None


def waiting(topic: str) -> "Taker | None":
    """Who waits there and has a wish, if the transaction that is open can `hand` it something."""
    if getattr(_thread, "handed", None) is None:
        return None
    first = next(iter(_takers.get(topic, ())), None)
    return first if first and first.wish and first.open else None


def hand(taker: "Taker", found: Any, still: Any) -> None:
    """That taker gets it with the commit, and the topic holds nothing more but for who is `still` to find that again."""
    taker.served = True
    _thread.handed.append((taker, found))
    _quiet[taker.topic] = still


def is_quiet(topic: str) -> bool:
    """Whether nothing is there, as far as is known: a lost wake-up is made up for when a poll ends."""
    return topic in _quiet


def wake(topics: Iterable[str]) -> None:
    """As `publish`, on the loop itself."""
    for topic in topics:
        _quiet.pop(topic, None)
        for subscription in tuple(_listeners.get(topic, ())):
            subscription.woken.set()
        for taker in tuple(_takers.get(topic, ())):
            taker.look()


def offer(topics: Iterable[str]) -> Iterator[tuple[Later, Any]]:
    """What the takers find in the transaction that is open; it is theirs once that is committed."""
    for topic in topics:
        for taker in _takers.get(topic, ())[:ASKED]:
            if taker.open and (found := taker.serve()):
                yield taker, found
                break


class Subscription:
    """`with Subscription("inbox:scout") as inbox: … await inbox.wait(60)`.

    Subscribe first, read the rows then, wait last: what changes in between is not missed.
    """

    def __init__(self, *topics: str):
        self.topics = topics
        self.woken = asyncio.Event()

    def __enter__(self) -> "Subscription":
        for topic in self.topics:
            _listeners[topic].add(self)
        return self

    def __exit__(self, *_: object) -> None:
        for topic in self.topics:
            _listeners[topic].discard(self)
            if not _listeners[topic]:
                del _listeners[topic]

    async def wait(self, seconds: float) -> bool:
        """True when woken, False after that many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            return False
        self.woken.clear()
        return True


class Taker(Later):
    """A long poll without a task: what `take` found, or `nothing` after that many seconds.

    `take` runs in a transaction, as a job of `write`: at once, with what is queued for it from then on, when something is
    published, and at the end once more, should a wake-up have been lost. It returns what is falsy while it finds nothing,
    and None when there is nothing to be found at all. By its `wish` whoever publishes can hand it something at once; `who` it
    is matters where a topic is quiet for all others.
    """

    __slots__ = ("_again", "_looks", "_moment", "_over", "nothing", "served", "take", "topic", "wish", "write")

    def __init__(
        self,
        topic: str,
        take: Callable[[], Any],
        nothing: Any,
        write: Callable[..., Later],
        seconds: float,
        wish: Any = None,
        who: Any = None,
    ):
        super().__init__(asyncio.get_running_loop())
        self.topic, self.take, self.nothing, self.write, self.wish = topic, take, nothing, write, wish
        self._looks = self._again = self._over = self.served = False
        _takers[topic].append(self)
        self._moment = due.expect(self, seconds) if seconds else set()
        if not seconds:
            self.too_late()
        elif topic not in _quiet or (who and who == _quiet[topic]):
            self.look()

    @property
    def open(self) -> bool:
        """Whether it can be served: whoever was in a transaction is offered nothing more before that is committed."""
        return not self.served and not self.done()

    def look(self) -> None:
        if self.done():
            return
        self._again = self._looks
        if not self._looks:
            self._looks = True
            self.write(self.serve, whole=True).add_done_callback(self._looked)

    def serve(self) -> Any:
        """`take`, in the transaction that is open."""
        found = self.take()
        self.served = bool(found)
        return found

    def too_late(self) -> None:
        self._over = True
        self.look()

    def _looked(self, job: Later) -> None:
        self._looks = False
        error = job.exception()
        if self.done():
            pass
        elif error:
            self.set_exception(error)
        elif found := job.result():
            self.set_result(found)
        elif self._again:
            self.look()
        elif self._over:
            self.set_result(self.nothing)
        elif found is None:
            # Whoever comes next need not look before something is published.
            _quiet[self.topic] = None

    def _finish(self, state: str) -> None:
        self._moment.discard(self)
        _takers[self.topic].remove(self)
        if not _takers[self.topic]:
            del _takers[self.topic]
        super()._finish(state)
