"""Wake-ups: `publish(topic)` says *that* something changed, rows say *what*. Lost or doubled, a wake-up loses nothing.

Topics are words such as `inbox:scout`, `control:scout`, `containers`, `approvals`, `messages`, `events:scout`.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.db import transaction

_loop: asyncio.AbstractEventLoop | None = None
# Topics that were looked into in vain and have not been published since.
_quiet: set[str] = set()
_thread = threading.local()
_listeners: dict[str, set["Subscription"]] = defaultdict(set)


def start(loop: asyncio.AbstractEventLoop) -> None:
    """Wake-ups are delivered on this loop from now on; before, and in a command, publishing does nothing."""
    global _loop
    _loop = loop


def publish(*topics: str) -> None:
    """Wake whoever listens; from any thread, at once."""
    if _loop is None or _loop.is_closed():
        return
    # The channel layer is no help here: a group_send from a thread wakes nobody for seconds (docs/decisions.md).
    _loop.call_soon_threadsafe(_wake, topics)


def publish_on_commit(*topics: str) -> None:
    """Wake whoever listens once the rows are really there."""
    if (gathered := getattr(_thread, "topics", None)) is not None:
        gathered.update(topics)
    else:
        transaction.on_commit(partial(publish, *topics))


@contextmanager
def gathered() -> Iterator[set[str]]:
    """Of a batch of jobs in this thread, what is to be published once it is committed: each topic once."""
    topics: set[str] = set()
    _thread.topics = topics
    try:
        yield topics
    finally:
        _thread.topics = None


def _wake(topics: tuple[str, ...]) -> None:
    _quiet.difference_update(topics)
    for topic in topics:
        for subscription in tuple(_listeners.get(topic, ())):
            subscription.woken.set()


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

    def found_nothing(self) -> None:
        """Whoever comes next need not look, unless something was published even while we looked."""
        if not self.woken.is_set():
            _quiet.update(self.topics)

    def worth_a_look(self) -> bool:
        return _quiet.isdisjoint(self.topics)

    async def wait(self, seconds: float) -> bool:
        """True when woken, False after that many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            return False
        self.woken.clear()
        return True
