"""How the tour is told: each line with the time since the start, a spinner where there is a terminal; a table at the end."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from broker.clean import clean
from hyperhive.cli.terminal import Block, Cell, Table


class Teller:
    """On stderr: rich on a terminal, plain lines anywhere else. `with Teller() as teller: …`."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.spinner = self.console.status("") if sys.stderr.isatty() else None

    def __enter__(self) -> "Teller":
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def seen(self, sentence: str) -> None:
        self._line("✓", "green", sentence)

    def say(self, sentence: str) -> None:
        self._line(" ", "", sentence)

    def failed(self, sentence: str) -> None:
        self.rest()
        self._line("✗", "red", sentence)

    def waits_for(self, what: str) -> None:
        """What comes next, for a terminal to show; a log does not need it."""
        if self.spinner:
            self.spinner.update(Text(clean(what), "dim"))
            self.spinner.start()

    def rest(self) -> None:
        if self.spinner:
            self.spinner.stop()

    def _line(self, mark: str, style: str, sentence: str) -> None:
        # Agents wrote some of it: nothing of theirs steers the terminal.
        text = f"{self.seconds:6.1f} s  ", (f"{mark} ", style), clean(sentence)
        if self.spinner:
            # Not wrapped by rich: a link that is cut in two can be neither clicked nor copied.
            self.console.print(Text.assemble(*text), soft_wrap=True)
        else:
            print(f"{text[0]}{mark} {text[2]}", file=sys.stderr, flush=True)


def closing(summary: dict[str, Any]) -> Iterator[Block]:
    """The table at the end, by the words of `hive demo --json`."""
    rows: list[tuple[Cell, ...]] = [(label, shown(summary[key])) for key, label in LABELS.items()]
    yield Table(("hive demo", ""), rows)


LABELS = {
    "agents": "agents",
    "turns": "turns",
    "approvals": "approvals",
    "messages": "messages",
    "cost_usd": "cost, as reported (USD)",
    "cli_version": "Claude CLI",
    "driver": "driver",
    "isolation": "isolation level",
    "seconds": "seconds",
}


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return (
            f"{sum(value.values())}: {', '.join(f'{count} {what}'.replace('_', ' ') for what, count in value.items())}"
        )
    return f"{len(value)}: {', '.join(value)}" if isinstance(value, list) else str(value)
