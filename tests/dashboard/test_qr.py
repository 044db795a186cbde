"""QR codes against what another encoder (the package qrcode 8) drew, module by module."""

import hashlib
import re

import pytest

from dashboard import qr

HIVE = """\
#######..#..#.#######
#.....#.#..#..#.....#
#.###.#..#....#.###.#
#.###.#.#..#..#.###.#
#.###.#...###.#.###.#
#.....#.###.#.#.....#
#######.#.#.#.#######
..........###........
#####.####..##.#.#.#.
..##.#..#.#.#..#....#
#...#.####.#.#..####.
######.#.##....####..
..#..###..##.#..##..#
........#######..##.#
#######.##..#.##...#.
#.....#....####..##..
#.###.#.#...#..#...#.
#.###.#.#.#.#..#.##..
#.###.#.#..#.#..###..
#.....#.##.....##.#..
#######.#.##.#..#.##."""


def drawn(text: str, level: str, mask: int) -> str:
    data = text.encode()
    version = qr.fitting(len(data), level)
    sent = qr.interleaved(qr.codewords(data, version, level), version, level)
    return "\n".join("".join(".#"[module] for module in row) for row in qr.drawn(version, level, sent, mask))


def test_a_code_module_by_module():
    assert drawn("hive", "L", 2) == HIVE


@pytest.mark.parametrize(
    ("length", "level", "mask", "version", "sha256"),
    [
        (71, "M", 5, 5, "83c93e2b715889ca3b61"),
        (150, "L", 0, 7, "40f2d84b80e7c76ce5e2"),
        (439, "L", 7, 14, "2b12e244e2a2c389648f"),
        (990, "M", 3, 25, "c0a8d53e35152c74bdd6"),
    ],
)
def test_larger_codes_by_their_hash(length, level, mask, version, sha256):
    text = ("https://example.org/login?code=" + "aZ9%-_" * 200)[:length]
    assert qr.fitting(length, level) == version
    assert hashlib.sha256(drawn(text, level, mask).encode()).hexdigest()[:20] == sha256


def test_the_correction_of_a_known_block():
    data = bytes([32, 91, 11, 120, 209, 114, 220, 77, 67, 64, 236, 17, 236, 17, 236, 17])
    assert qr.remainder(data, 10) == bytes([196, 35, 39, 119, 235, 215, 231, 226, 93, 23])


@pytest.mark.parametrize(("level", "most"), [("L", 1273), ("M", 997)])
def test_what_does_not_fit_is_refused(level, most):
    assert qr.fitting(most, level) == 25
    with pytest.raises(qr.TooLong):
        qr.matrix("x" * (most + 1), level)


def test_the_mask_is_one_that_reads_well():
    rows = qr.matrix("http://127.0.0.1:7000/login#" + "t" * 43)
    dark = sum(map(sum, rows)) / len(rows) ** 2
    assert 0.4 < dark < 0.6


def test_a_terminal_shows_the_same_modules():
    rows = qr.matrix("hive")
    size = len(rows) + 2 * qr.QUIET
    lines = qr.text("hive").split("\n")
    assert {len(line) for line in lines} == {size}
    halves = [[char in "▀█" for char in line] for line in lines], [[char in "▄█" for char in line] for line in lines]
    light = [row for pair in zip(*halves, strict=True) for row in pair]
    inner = [[not module for module in row[qr.QUIET : -qr.QUIET]] for row in light[qr.QUIET : qr.QUIET + len(rows)]]
    assert inner == rows


def test_a_page_shows_the_same_modules():
    picture = qr.svg("hive")
    assert f'viewBox="0 0 {21 + 2 * qr.QUIET} {21 + 2 * qr.QUIET}"' in picture
    rows = [[False] * 21 for _ in range(21)]
    for found in re.finditer(r"M(\d+) (\d+)h(\d+)", picture):
        x, y, width = map(int, found.groups())
        rows[y - qr.QUIET][x - qr.QUIET : x - qr.QUIET + width] = [True] * width
    assert rows == qr.matrix("hive")
