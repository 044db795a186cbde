"""What reaches a terminal: data on stdout, talk on stderr, nothing that an agent wrote before it went through clean()."""

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from broker.clean import clean

SCHEMA = 1

Cell = str | tuple[str, str]  # text, or text and its style


class Table(NamedTuple):
    """Columns to be aligned; the last one is cut where the terminal ends. `empty` is said when there are no rows."""

    headings: tuple[str, ...]  # empty ones are not printed
    rows: list[tuple[Cell, ...]]
    empty: str = ""


Block = Table | str
Look = Callable[[Any], Iterable[Block]]
Ids = Callable[[Any], Iterable[Any]]


class Terminal:
    """One command's stdout and stderr, in the form that was asked for: to read, `--json` or `-q`."""

    def __init__(self, as_json: bool = False, quiet: bool = False):
        self.as_json, self.quiet = as_json, quiet
        # A terminal that lacks a character shows its number; the command goes on.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    # ---- data

    def result(self, result: dict[str, Any], look: Look, ids: Ids) -> None:
        if self.as_json:
            write(to_json(result))
        elif self.quiet:
            for one in ids(result):
                write(clean(str(one)))
        else:
            for block in look(result):
                self.block(block)

    def text(self, text: str) -> None:
        """A piece of text as it is: it may stop in the middle of a line, so it gets no end of line."""
        if not self.quiet:
            sys.stdout.write(clean(text))
            sys.stdout.flush()

    def block(self, block: Block) -> None:
        if isinstance(block, str):
            write(clean(block))
        elif block.rows:
            _print_table(block)
        else:
            self.say(block.empty)

    # ---- talk

    def say(self, sentence: str) -> None:
        print(clean(sentence), file=sys.stderr, flush=True)

    def show(self, blocks: Iterable[Block]) -> None:
        """Blocks of text for the person who is about to decide, whatever form stdout has."""
        for block in blocks:
            self.say(str(block))

    def asks(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    async def ask(self, question: str) -> str:
        """The line typed as an answer. Only read once it is there: a blocked read would not be ended by Ctrl-C."""
        print(clean(question), end=" ", file=sys.stderr, flush=True)
        typed, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(sys.stdin, typed.set)
        try:
            await typed.wait()
        finally:
            loop.remove_reader(sys.stdin)
        return sys.stdin.readline().strip()

    @contextlib.contextmanager
    def progress(self, name: str) -> Iterator[Callable[[str], None]]:
        """A function that tells the step it is given, when it is a new one."""
        if self.quiet:
            yield lambda step: None
        elif sys.stderr.isatty():
            with _spinner(name) as tell:
                yield tell
        else:
            yield _once(lambda step: self.say(f"{name}: {step}"))


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def to_json(result: dict[str, Any]) -> str:
    """One line of printable ASCII: all else stands as \\uNNNN. json takes DEL for printable, so that is done here."""
    return json.dumps({"schema": SCHEMA, **result}, separators=(",", ":")).replace("\x7f", "\\u007f")


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


# ---- rich, imported only where it is used: it costs a command that prints JSON a fifth of its time


def _print_table(table: Table) -> None:
    from rich.console import Console

    # Nothing is cut in a pipe: there the width is what the widest row needs.
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 100_000)
    with console.capture() as lines:
        console.print(drawn(table))
    # Rich fills the last column with spaces.
    write("\n".join(line.rstrip() for line in lines.get().rstrip("\n").split("\n")))


def drawn(block: Block) -> Any:
    """A block as rich prints it."""
    from rich.table import Table as RichTable
    from rich.text import Text

    if isinstance(block, str):
        return Text(clean(block), no_wrap=True, overflow="ellipsis")
    if not block.rows:
        return Text(block.empty, "dim")
    table = RichTable(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(block.headings)
    )
    for number, heading in enumerate(block.headings, 1):
        table.add_column(heading, no_wrap=number < len(block.headings))
    for row in block.rows:
        cells = (cell if isinstance(cell, tuple) else (cell, "") for cell in row)
        table.add_row(*(Text(one_line(text), style, no_wrap=True, overflow="ellipsis") for text, style in cells))
    return table


@contextlib.contextmanager
def _spinner(name: str) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.text import Text

    def line(step: str) -> Text:
        return Text(one_line(f"{name}: {step}"))

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with console.status(line("…")) as status:

        def tell(step: str) -> None:
            console.print(line(step), style="dim")
            status.update(line(step))

        yield _once(tell)


def _once(tell: Callable[[str], Any]) -> Callable[[str], None]:
    said = ""

    def tell_new(step: str) -> None:
        nonlocal said
        if step and step != said:
            said = step
            tell(step)

    return tell_new


def no_more_readers() -> None:
    """Whoever read our output has gone (`hive events -f w | head`): let Python's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
