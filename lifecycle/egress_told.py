"""What the operator hears of an agent's way out: its traffic since the daemon began, and each refusal as an event."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

# An agent can be refused a thousand times a second: one event per target in so many seconds, and so many targets.
EACH, TARGETS = 60.0, 20


@dataclass
class Traffic:
    """Of one agent. What `counts` names is 'refused', 'unreachable', 'model' or a target of its list, so it stays small."""

    counts: Counter[str] = field(default_factory=Counter)
    open: int = 0
    sent: int = 0
    received: int = 0
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def up(self, size: int) -> None:
        self.sent += size
        await self.turn()

    async def down(self, size: int) -> None:
        self.received += size
        await self.turn()

    async def turn(self) -> None:
        """One piece of one of its connections in each turn of the daemon's loop, however many they are."""
        async with self.turns:
            await asyncio.sleep(0)

    def as_json(self) -> dict[str, Any]:
        hosts = {name: count for name, count in self.counts.items() if name not in ("refused", "unreachable")}
        return {
            "open": self.open,
            "connections": sum(hosts.values()),
            "refused": self.counts["refused"],
            "unreachable": self.counts["unreachable"],
            "sent": self.sent,
            "received": self.received,
            "hosts": hosts,
        }


# By the agent's name: a way out that is opened anew, as its list has changed, goes on counting.
TRAFFIC: dict[str, Traffic] = {}


def traffic(agent: str) -> dict[str, Any]:
    return TRAFFIC.get(agent, Traffic()).as_json()


class Refusals:
    """`tell` hears of them: {"target", "line", "untold", "text"}."""

    def __init__(self, tell: Callable[[dict[str, Any]], Any], listed: Collection[str] = ()):
        self.tell, self.listed = tell, listed
        self.last: dict[str, float] = {}
        self.untold = 0

    def note(self, target: str, why: str, entry: str) -> bool:
        """Whether it is told. `entry` is what the list would have to name, '' where no entry would help."""
        now = time.monotonic()
        self.last = {target: at for target, at in self.last.items() if now - at < EACH}
        if target in self.last or len(self.last) >= TARGETS:
            self.untold += 1
            return False
        self.last[target] = now
        self.tell({"target": target, "line": self.line(entry), "untold": self.untold, "text": self.text(why, entry)})
        self.untold = 0
        return True

    def text(self, why: str, entry: str) -> str:
        more = f" {self.untold} more were refused since the last that was told." if self.untold else ""
        return why + more + (f" To allow it, its configuration has to say: {self.line(entry)}" if entry else "")

    def line(self, entry: str) -> str:
        """The line of the agent's configuration that would let it through, with what is listed already."""
        if not entry:
            return ""
        entries = [json.dumps(each) for each in dict.fromkeys((*self.listed, entry))]
        if settings.HIVE_DRIVER == "nixos":
            return f"hyperhive.egress = [ {' '.join(entries)} ];"
        return f"egress = [{', '.join(entries)}]"
