"""The host's verbs, asked until they are answered: the host may be away for as long as it likes."""

import asyncio
from typing import Any

from broker.wire import Client, Refused

# The host says no now and may say yes in a moment; every other refusal is final.
PASSING = ("busy", "timed_out")


class Host(Client):
    def __init__(self, path: Any):
        super().__init__(path, patience=None)

    async def ask(self, verb: str, /, **params: Any) -> Any:
        """The verb's answer, however long it takes; Refused when the host says no for good."""
        pause = 0.1
        while True:
            try:
                return await self.call(verb, **params)
            except Refused as refusal:
                if refusal.kind not in PASSING:
                    raise
            except OSError:
                # TimeoutError is one too: a host that hangs is a host that is away.
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
