"""What the address narrows the dashboard to, and in which order it shows the containers; the script does the same live."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.http import QueryDict

from agents.models import STATES
from broker.models import HIVE, OPERATOR, Message

# A message's state -> the word of its chip.
MAIL = {"queued": "waits", "claimed": "in a turn", "delivered": "read", "dead": "dead"}
# Column of the containers -> its orders, the more useful first; a third click takes them off.
COLUMNS = {
    "agent": ("agent", "-agent"),
    "state": ("state", "-state"),
    "inbox": ("-inbox", "inbox"),
    "web": ("web", "-web"),
    "config": ("config", "-config"),
}
URGENT = ("login", "failing", "rebuilding", "thinking", "paused", "idle", "offline")
NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
ORDERS = {"": "none"} | {
    order: "descending" if order[0] == "-" else "ascending" for pair in COLUMNS.values() for order in pair
}


class Column(NamedTuple):
    """A head of the table: what is typed into the address by a click, and how it is ordered now."""

    name: str
    orders: tuple[str, str]
    following: str
    aria: str


class Narrowed(NamedTuple):
    """'' where the address says nothing, or nothing that can be."""

    state: str
    q: str
    sort: str
    mail: str
    sender: str
    to: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Narrowed":
        given = {name: query.get(name, "") for name in NAMES}
        for name, words in (("state", STATES), ("sort", ORDERS), ("mail", MAIL)):
            given[name] = given[name] if given[name] in words else ""
        for name in ("from", "to"):
            given[name] = given[name] if NAME.fullmatch(given[name]) else ""
        return cls(*(given | {"q": given["q"][:40]}).values())

    @property
    def query(self) -> QueryDict:
        """As an address says it."""
        query = QueryDict(mutable=True)
        query.update({name: value for name, value in zip(NAMES, self, strict=True) if value})
        return query

    # ---- containers

    def has(self, agent: dict[str, Any]) -> bool:
        return self.state in ("", agent["state"]) and self.q.strip().lower() in agent["row"].name

    def ordered(self, agents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that are alike stay in the order of their names, the manager first."""
        column = self.sort.removeprefix("-")
        return sorted(agents, key=lambda it: it["keys"][column], reverse=self.sort[0] == "-") if column else agents

    def columns(self) -> list[Column]:
        return [Column(name, pair, self._following(pair), self._aria(pair)) for name, pair in COLUMNS.items()]

    def _following(self, pair: tuple[str, str]) -> str:
        first, second = pair
        return {first: second, second: ""}.get(self.sort, first)

    def _aria(self, pair: tuple[str, str]) -> str:
        return ORDERS[self.sort] if self.sort in pair else "none"

    # ---- messages

    def wants(self, message: Message) -> bool:
        return (
            self.mail in ("", message.state)
            and self.sender in ("", message.sender)
            and self.to in ("", message.recipient)
        )

    def people(self, agents: list[dict[str, Any]], flow: list[Message]) -> list[str]:
        """Whom the messages can be narrowed to."""
        known = {OPERATOR, HIVE, self.sender, self.to} | {agent["row"].name for agent in agents}
        return sorted((known | {name for message in flow for name in (message.sender, message.recipient)}) - {""})


NAMES = ("state", "q", "sort", "mail", "from", "to")


def keys(agent: dict[str, Any]) -> dict[str, int | str]:
    """What a column orders an agent by."""
    rev, newer = agent["revision"]
    return {
        "agent": agent["row"].name,
        "state": URGENT.index(agent["state"]),
        "inbox": agent["inbox"],
        "web": agent["row"].port or 0,
        "config": f"{0 if newer else 1 if rev else 2} {rev}",
    }
