"""QR codes (ISO/IEC 18004), as much as a link needs: bytes, error correction L or M, versions 1 to 25.

`matrix(text)` is rows of bools, dark is True; `svg(text)` is a picture for a page, `text(text)` one for a terminal.
"""

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import pairwise

from django.utils.html import format_html
from django.utils.safestring import SafeString

Matrix = list[list[bool]]

# Level -> its two bits in the format, and for each version the correction bytes of a block and the number of blocks.
LEVELS: dict[str, tuple[int, list[int], list[int]]] = {
    "L": (
        1,
        [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26],
        [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12],
    ),
    "M": (
        0,
        [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28, 28],
        [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21],
    ),
}
MASKS: list[Callable[[int, int], bool]] = [
    lambda x, y: (x + y) % 2 == 0,
    lambda x, y: y % 2 == 0,
    lambda x, y: x % 3 == 0,
    lambda x, y: (x + y) % 3 == 0,
    lambda x, y: (x // 3 + y // 2) % 2 == 0,
    lambda x, y: x * y % 2 + x * y % 3 == 0,
    lambda x, y: (x * y % 2 + x * y % 3) % 2 == 0,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2 == 0,
]
QUIET = 4  # light modules around it


class TooLong(ValueError):
    """The text does not fit into a code of version 25."""


def matrix(text: str, level: str = "L") -> Matrix:
    """The smallest code that holds the text, with the mask that reads best."""
    data = text.encode()
    version = fitting(len(data), level)
    sent = interleaved(codewords(data, version, level), version, level)
    return min((drawn(version, level, sent, mask) for mask in range(8)), key=penalty)


@lru_cache(16)
def svg(text: str, level: str = "L") -> SafeString:
    """Black on white, whatever the theme is: readers want it so."""
    rows = matrix(text, level)
    size = len(rows) + 2 * QUIET
    path = "".join(f"M{x + QUIET} {y + QUIET}h{width}v1h-{width}z" for y, x, width in runs(rows))
    return format_html(
        '<svg class="qr" viewBox="0 0 {0} {0}" role="img" aria-label="QR code of the link">'
        '<rect width="{0}" height="{0}" fill="#fff"/><path fill="#000" d="{1}"/></svg>',
        size, path,
    )  # fmt: skip


def text(text: str, level: str = "L") -> str:
    """Two rows of modules per line, in half blocks; light is drawn, as terminals are dark."""
    rows = matrix(text, level)
    side = [False] * QUIET
    blank = [[False] * (len(rows) + 2 * QUIET)]
    padded = blank * QUIET + [side + row + side for row in rows] + blank * (QUIET + 1)
    return "\n".join(
        "".join(" ▀▄█"[(not above) + 2 * (not below)] for above, below in zip(upper, lower, strict=True))
        for upper, lower in zip(padded[::2], padded[1::2], strict=False)
    )


def runs(rows: Matrix) -> Iterator[tuple[int, int, int]]:
    """Row, column and width of every stretch of dark modules."""
    for y, row in enumerate(rows):
        edges = [x for x, (a, b) in enumerate(pairwise([False, *row, False])) if a != b]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            yield y, start, end - start


# ---- what is sent -----------------------------------------------------------------------------------------------------


def fitting(length: int, level: str) -> int:
    for version in range(1, 26):
        if header(version) + 8 * length <= 8 * capacity(version, level):
            return version
    raise TooLong(f"{length} bytes are too many for a QR code here.")


def header(version: int) -> int:
    """Bits of the mode and of the length."""
    return 4 + (8 if version < 10 else 16)


def modules(version: int) -> int:
    """How many carry data: all but the patterns, and what tells format and version."""
    found = (16 * version + 128) * version + 64
    if version > 1:
        aligned = version // 7 + 2
        found -= (25 * aligned - 10) * aligned - 55
    return found - (36 if version > 6 else 0)


def capacity(version: int, level: str) -> int:
    _, correction, blocks = LEVELS[level]
    return modules(version) // 8 - correction[version - 1] * blocks[version - 1]


def codewords(data: bytes, version: int, level: str) -> bytes:
    """Mode, length, the bytes, an end, and padding."""
    bits = f"0100{len(data):0{header(version) - 4}b}" + "".join(f"{byte:08b}" for byte in data)
    room = capacity(version, level)
    bits += "0" * min(4, 8 * room - len(bits))
    bits += "0" * (-len(bits) % 8)
    found = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return found + (b"\xec\x11" * room)[: room - len(found)]


def interleaved(data: bytes, version: int, level: str) -> bytes:
    """Its blocks, each with its correction, byte by byte in turn; the later blocks may be one byte longer."""
    _, correction, counts = LEVELS[level]
    count, extra = counts[version - 1], correction[version - 1]
    short, long = divmod(len(data), count)
    blocks, start = [], 0
    for number in range(count):
        end = start + short + (number >= count - long)
        blocks.append(data[start:end])
        start = end
    corrected = [remainder(block, extra) for block in blocks]
    return bytes(
        block[n] for some, most in ((blocks, short + 1), (corrected, extra)) for n in range(most) for block in some
        if n < len(block)
    )  # fmt: skip


# ---- Reed and Solomon, over the field of 256 that 0x11d makes -----------------------------------------------------------


def product(a: int, b: int) -> int:
    found = 0
    for bit in range(7, -1, -1):
        found = (found << 1) ^ (0x11D if found & 0x80 else 0)
        if b >> bit & 1:
            found ^= a
    return found


@cache
def divisor(degree: int) -> list[int]:
    found, root = [0] * (degree - 1) + [1], 1
    for _ in range(degree):
        found = [product(a, root) ^ b for a, b in zip(found, [*found[1:], 0], strict=True)]
        root = product(root, 2)
    return found


def remainder(data: bytes, degree: int) -> bytes:
    found = [0] * degree
    for byte in data:
        factor = byte ^ found[0]
        found = [a ^ product(b, factor) for a, b in zip([*found[1:], 0], divisor(degree), strict=True)]
    return bytes(found)


# ---- what is drawn ----------------------------------------------------------------------------------------------------


def drawn(version: int, level: str, sent: bytes, mask: int) -> Matrix:
    fixed = patterns(version) | formats(version, level, mask)
    size = 17 + 4 * version
    rows = [[fixed.get((x, y), MASKS[mask](x, y)) for x in range(size)] for y in range(size)]
    bits = (byte >> bit & 1 for byte in sent for bit in range(7, -1, -1))
    for (x, y), bit in zip(way(size, fixed), bits, strict=False):
        rows[y][x] ^= bool(bit)
    return rows


def way(size: int, fixed: dict[tuple[int, int], bool]) -> Iterator[tuple[int, int]]:
    """From the right, in pairs of columns, up and down in turn; the column of the timing pattern is passed over."""
    up = True
    for right in [*range(size - 1, 6, -2), 5, 3, 1]:
        for y in range(size - 1, -1, -1) if up else range(size):
            yield from ((x, y) for x in (right, right - 1) if (x, y) not in fixed)
        up = not up


@cache
def patterns(version: int) -> dict[tuple[int, int], bool]:
    """Finders, alignment, timing, and from version 7 on the version itself."""
    size = 17 + 4 * version
    found = {}
    for n in range(size):
        found[6, n] = found[n, 6] = n % 2 == 0
    for left, top in ((3, 3), (size - 4, 3), (3, size - 4)):
        found |= square(left, top, 4, size)
    places = aligned(version)
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    for place in ((x, y) for x in places for y in places if (x, y) not in corners):
        found |= square(*place, 2, size)
    if version > 6:
        bits = checked(version, 12, 0x1F25)
        for n in range(18):
            found[size - 11 + n % 3, n // 3] = found[n // 3, size - 11 + n % 3] = bool(bits >> n & 1)
    return found


def square(x: int, y: int, reach: int, size: int) -> dict[tuple[int, int], bool]:
    """Rings around a middle: dark but for the second (and, of a finder, the fourth)."""
    return {
        (x + dx, y + dy): (ring := max(abs(dx), abs(dy))) != reach - (reach == 2) and ring != 2 - (reach == 2)
        for dx in range(-reach, reach + 1)
        for dy in range(-reach, reach + 1)
        if 0 <= x + dx < size and 0 <= y + dy < size
    }


def aligned(version: int) -> list[int]:
    if version == 1:
        return []
    count = version // 7 + 2
    step = (version * 8 + count * 3 + 5) // (count * 4 - 4) * 2
    return [6, *(10 + 4 * version - n * step for n in range(count - 2, -1, -1))]


def formats(version: int, level: str, mask: int) -> dict[tuple[int, int], bool]:
    """Level and mask, twice, and the module that is always dark."""
    bits = checked(LEVELS[level][0] << 3 | mask, 10, 0x537) ^ 0x5412
    size = 17 + 4 * version
    around = [*((8, y) for y in (0, 1, 2, 3, 4, 5, 7, 8)), *((x, 8) for x in (7, 5, 4, 3, 2, 1, 0))]
    beside = [*((size - 1 - n, 8) for n in range(8)), *((8, size - 7 + n) for n in range(7))]
    places = [(place, n) for some in (around, beside) for n, place in enumerate(some)]
    return {place: bool(bits >> n & 1) for place, n in places} | {(8, size - 8): True}


def checked(value: int, bits: int, generator: int) -> int:
    """The value with its BCH check bits behind it."""
    rest = value
    for _ in range(bits):
        rest = rest << 1 ^ (rest >> bits - 1) * generator
    return value << bits | rest


# ---- which mask -------------------------------------------------------------------------------------------------------


def penalty(rows: Matrix) -> int:
    """How hard it is to read: long runs, blocks, what looks like a finder, and more dark than light or the reverse."""
    lines = ["".join("01"[module] for module in line) for line in (*rows, *zip(*rows, strict=True))]
    alike = [run for line in lines for run in line.replace("01", "0 1").replace("10", "1 0").split()]
    long = sum(len(run) - 2 for run in alike if len(run) > 4)
    blocks = sum(
        a == b == c == d
        for upper, lower in pairwise(rows)
        for (a, b), (c, d) in zip(pairwise(upper), pairwise(lower), strict=True)
    )
    finders = sum(line.startswith(("00001011101", "10111010000"), n) for line in lines for n in range(len(line)))
    dark, all_ = sum(map(sum, rows)), len(rows) ** 2
    return long + 3 * blocks + 40 * finders + 10 * (abs(20 * dark - 10 * all_) // all_)
