"""A topic that was looked into in vain is not worth a look until something is published."""

import asyncio

import pytest

from broker import events
from broker.events import Subscription, publish


@pytest.fixture(autouse=True)
async def loop() -> None:
    events.start(asyncio.get_running_loop())


async def test_nothing_is_worth_a_look_only_until_something_is_published() -> None:
    with Subscription("inbox:quiet-one") as inbox:
        assert inbox.worth_a_look()
        inbox.found_nothing()
    with Subscription("inbox:quiet-one") as again:
        assert not again.worth_a_look()
    publish("inbox:quiet-one")
    await asyncio.sleep(0)
    with Subscription("inbox:quiet-one") as later:
        assert later.worth_a_look()


async def test_what_is_published_while_somebody_looks_is_not_missed() -> None:
    with Subscription("inbox:quiet-two") as inbox:
        publish("inbox:quiet-two")
        await asyncio.sleep(0)
        inbox.found_nothing()
        assert inbox.worth_a_look()
