"""What changes from one text to the other, line by line, with nothing hidden: what a page and a terminal show."""

import difflib
import re
from typing import TypedDict

from broker.clean import clean

CONTEXT = 3
NO_NEWLINE = "  \\ no newline at the end"
HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)")


class Row(TypedDict):
    """One line: `kind` is ctx, add, del or hunk; `old` and `new` are its numbers, None on the side that lacks it."""

    kind: str
    old: int | None
    new: int | None
    text: str


def diff(old: bytes, new: bytes) -> list[Row]:
    """Our own, not git's: no attribute and no configuration of a repository has a say in it. [] for equal texts."""
    before, after = _lines(old), _lines(new)
    rows: list[Row] = []
    ahead, behind = 0, 0
    # The first two name files, which says nothing here.
    for line in list(difflib.unified_diff(before, after, n=CONTEXT, lineterm=""))[2:]:
        # Compared as they are and cleaned only to be shown: two lines that look the same are still two.
        mark, text = line[:1], clean(line[1:])
        if found := HUNK.match(line):
            # A side without lines is numbered by the line before it (POSIX diff -u).
            behind, ahead = (int(number) or 1 for number in found.groups())
            rows.append({"kind": "hunk", "old": None, "new": None, "text": line})
        elif mark == "-":
            rows.append({"kind": "del", "old": behind, "new": None, "text": text})
            behind += 1
        elif mark == "+":
            rows.append({"kind": "add", "old": None, "new": ahead, "text": text})
            ahead += 1
        else:
            rows.append({"kind": "ctx", "old": behind, "new": ahead, "text": text})
            behind, ahead = behind + 1, ahead + 1
    return rows


def _lines(data: bytes) -> list[str]:
    """Cut at newlines and nowhere else, so that a carriage return or U+2028 is seen and does not make a line.

    A missing newline at the very end is a difference, and said.
    """
    if not data:
        return []
    lines = data.decode(errors="surrogateescape").split("\n")
    if lines[-1]:
        lines[-1] += NO_NEWLINE
    else:
        lines.pop()
    return lines
