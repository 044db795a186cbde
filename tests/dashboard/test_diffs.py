"""A difference on a card: what is marked of a line, on text that an agent wrote to be shown wrongly or to cost much."""

import time
from html import unescape

import pytest

from approvals.models import Approval
from dashboard import diffs
from lifecycle.difference import diff

pytestmark = pytest.mark.django_db


def marks(old: str, new: str) -> list[str]:
    """Each line that changed, with what is marked in brackets."""
    lines = diffs.shown(diff(old.encode(), new.encode()), diffs.CARD).lines
    text = ["".join(f"[{words}]" if marked else words for words, marked in line.pieces) for line in lines]
    return [words for line, words in zip(lines, text, strict=True) if line.kind in ("add", "del")]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('model = "opus"\n', 'model = "sonnet"\n', ['model = "[opus]"', 'model = "[sonnet]"']),
        ("tools = [a, b]\n", "tools = [a, b, c]\n", ["tools = [a, b]", "tools = [a, b[, c]]"]),
        ("a = 1, b = 2\n", "a = 3, b = 4\n", ["a = [1], b = [2]", "a = [3], b = [4]"]),
        ("one\n", "two three\n", ["one", "two three"]),
        ("", "new\n", ["new"]),
        ("x\u202ey\n", "x\\u202ey\n", ["[x\\u202ey]", "[x\\u202ey]"]),
        ("x\u202ey z\n", "x\u202dy z\n", ["x[\\u202e]y z", "x[\\u202d]y z"]),
        ("a b\n", "a <b>\nc\n", ["a b", "a [<]b[>]", "c"]),
    ],
)
def test_the_words_that_changed_are_marked(old, new, wanted):
    assert marks(old, new) == wanted


def test_the_lines_of_both_sides_are_counted_also_those_that_are_not_shown():
    found = diffs.shown(diff(b"a\n" * 700, b"b\n" * 900), diffs.CARD)
    assert (found.added, found.removed, len(found.lines), found.more) == (900, 700, 600, 1001)


@pytest.mark.parametrize(
    "line", ["a\n", "a b a b b a c a b b a d\n", "a " * 900 + "\n", "a," * 30_000 + "\n", "\u202e" * 21_000 + "\n"]
)
def test_a_difference_made_to_cost_much_costs_little(line):
    times = 65_000 // len(line.encode())
    begun = time.process_time()
    diffs.shown(diff((line * times).encode(), (line.replace("a", "e") * times).encode()), diffs.PAGE)
    words = [
        {"kind": kind, "old": 1, "new": 1, "text": text} for kind, text in [("del", "q " + line), ("add", "q z" + line)]
    ]
    diffs.shown([row for row in words for _ in range(diffs.PAGE)], diffs.PAGE)
    assert time.process_time() - begun < 3


def asked(before: str, content: str) -> Approval:
    return Approval._request(
        kind="apply_commit", agent="scout", why="to learn", requested_by="hm1nd", before=before, content=content,
        sha="c" * 40,
    )  # fmt: skip


def test_a_card_counts_and_marks_and_everything_in_it_stays_text(operator, agent):
    asked("prompt = '<i>x'\n", "prompt = '<b>x\u202e'\n")
    html = operator.get("/").content.decode()
    assert "+1</span>" in html
    assert "−1</span>" in html
    assert "prompt = &#x27;&lt;<del>i</del>&gt;x" in html
    assert "<ins>b</ins>" in html
    assert "\u202e" not in html


def test_a_long_difference_has_a_page_of_its_own(operator, agent):
    row = asked("", "".join(f"# line {number}\n" for number in range(2000)))
    card = operator.get("/").content.decode()
    assert "1401 more lines of it are not shown here" in card
    assert f'href="/approvals/{row.pk}"' in card
    assert "# line 1999" not in card
    html = operator.get(f"/approvals/{row.pk}").content.decode()
    assert "# line 1999" in html
    assert "not shown here" not in html
    operator.post(f"/approvals/{row.pk}/deny", {"reason": "too long"})
    html = unescape(operator.get(f"/approvals/{row.pk}").content.decode())
    assert "too long" in html
    assert "# line 1999" in html
    assert operator.get("/approvals/999").status_code == 404
