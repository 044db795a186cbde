"""The operator's end of host.sock: one question, or a question asked again and again for what is new."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from broker.wire import Client, Unreachable

from .ends import USAGE, End

# Seconds: how often a follower looks for new rows, and how long a host that was there may be away (a restart).
LOOK = 0.4
AWAY = 30.0


class Host:
    def __init__(self, path: Path):
        self.client = Client(path)

    async def ask(self, verb: str, **params: Any) -> Any:
        """The verb's result; what is None is not asked for. Unreachable, Refused or TimeoutError otherwise."""
        given = {name: value for name, value in params.items() if value is not None}
        try:
            answer = await self.client.call(verb, **given)
        except TimeoutError:
            raise
        except UnicodeEncodeError:
            raise End(USAGE, "An argument is not UTF-8.") from None
        except OSError as error:
            raise Unreachable(f"{self.client.path} cannot be opened ({error.strerror or error}).") from None
        self.client.patience = AWAY
        return answer

    async def follow(self, verb: str, key: str, cursor: str, **params: Any) -> AsyncIterator[Any]:
        """The newest page of `verb`, then each page after it, for ever; `cursor` names where the page says it ends."""
        after = None
        while True:
            page = await self.ask(verb, **params, after=after)
            if page[key]:
                yield page
                after = page[cursor]
            else:
                after = page.get(cursor) or after or 0
                await asyncio.sleep(LOOK)

    async def close(self) -> None:
        await self.client.close()
