"""A difference as a page shows it: how much comes and goes, what of a line changed, and no more lines than a page bears."""

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import groupby, islice
from typing import NamedTuple

from lifecycle.difference import Row

CARD, PAGE = 600, 10_000  # lines that a card and a page of its own show
# What is worked out at most, since an agent wrote it: lines that are marked, characters of one, words compared one by one.
PAIRS, LONGEST, WORDS = 500, 2000, 24
# What shows a hidden character stays whole.
WORD = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\w+|\s+|.", re.DOTALL)

Pieces = list[tuple[str, bool]]  # text, and whether it is what changed


class Line(NamedTuple):
    """A row of lifecycle/difference.py, its text in pieces."""

    kind: str
    old: int | None
    new: int | None
    pieces: Pieces


class Shown(NamedTuple):
    lines: list[Line]
    added: int
    removed: int
    more: int  # lines that are left out at the end


def shown(rows: list[Row], most: int) -> Shown:
    kinds = [row["kind"] for row in rows]
    lines = islice(marked(rows), most)
    return Shown(list(lines), kinds.count("add"), kinds.count("del"), max(0, len(rows) - most))


def marked(rows: Iterable[Row]) -> Iterator[Line]:
    """Lines that go are set beside those that come in their place, the first by the first."""
    left, gone = PAIRS, list[Row]()
    for kind, run in groupby(rows, key=lambda row: row["kind"]):
        if kind == "del":
            gone = list(run)
            continue
        come = list(run)
        pairs = list(zip(gone, come, strict=False))[:left] if kind == "add" else []
        left -= len(pairs)
        both = [words(old["text"], new["text"]) for old, new in pairs]
        yield from lined(gone, [old for old, _ in both])
        yield from lined(come, [new for _, new in both])
        gone = []
    yield from lined(gone, [])


def lined(rows: list[Row], known: list[Pieces]) -> Iterator[Line]:
    for number, row in enumerate(rows):
        pieces = known[number] if number < len(known) else [(row["text"], False)]
        yield Line(row["kind"], row["old"], row["new"], pieces)


def words(old: str, new: str) -> tuple[Pieces, Pieces]:
    """Both lines in pieces. Nothing is marked of lines that have nothing in common, all of those that only look the same."""
    if old == new:
        return [(old, True)], [(new, True)]
    if max(len(old), len(new)) > LONGEST:
        return [(old, False)], [(new, False)]
    before, after = WORD.findall(old), WORD.findall(new)
    head = common(before, after)
    tail = common(before[head:][::-1], after[head:][::-1])
    within = between(before[head : len(before) - tail], after[head : len(after) - tail])
    sides = []
    for side, (text, changed) in enumerate(zip((before, after), within, strict=True)):
        end = [("".join(text[len(text) - tail :]), False)]
        sides.append(joined([("".join(text[:head]), False), *changed, *end]))
        if not any(piece.strip() for piece, is_new in sides[side] if not is_new):
            return [(old, False)], [(new, False)]
    return sides[0], sides[1]


def common(one: list[str], other: list[str]) -> int:
    """How many words both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def between(before: list[str], after: list[str]) -> tuple[Pieces, Pieces]:
    """What lies between two ends that are the same: word by word where it is short, since that costs its third power."""
    if max(len(before), len(after)) > WORDS:
        return [("".join(before), True)], [("".join(after), True)]
    steps = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    # A space or a comma in common between two changes tells nothing.
    same = [step == "equal" and any(word[0].isalnum() for word in before[a:b]) for step, a, b, _, _ in steps]
    old = [("".join(before[a:b]), not kept) for (_, a, b, _, _), kept in zip(steps, same, strict=True)]
    new = [("".join(after[c:d]), not kept) for (_, _, _, c, d), kept in zip(steps, same, strict=True)]
    return old, new


def joined(pieces: Pieces) -> Pieces:
    return [
        ("".join(text for text, _ in run), is_new)
        for is_new, run in groupby((piece for piece in pieces if piece[0]), key=lambda piece: piece[1])
    ]
