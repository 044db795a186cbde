"""Small plots as SVG made here: attributes alone, so the pages need no inline style for them."""

from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 240, 40
SIZES = ("B", "kB", "MB", "GB", "TB")


def line(values: Sequence[float], label: str) -> SafeString:
    """The run of them, the oldest on the left; its height is that of the largest."""
    if len(values) < 2:
        return SafeString("")
    top = max(*values, 1e-9)
    step = WIDTH / (len(values) - 1)
    points = " ".join(f"{n * step:.1f},{HEIGHT - 1 - (HEIGHT - 2) * value / top:.1f}" for n, value in enumerate(values))
    return format_html(
        '<svg class="plot" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline points="{}"/></svg>',
        WIDTH, HEIGHT, label, points,
    )  # fmt: skip


def meter(part: float, most: float) -> SafeString:
    """How much of the most it is; amber when little is left."""
    if most <= 0:
        return SafeString("")
    width = min(100.0, 100 * part / most)
    return format_html(
        '<svg class="meter" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect width="100" height="4"/>'
        '<rect{} width="{}" height="4"/></svg>',
        SafeString(' class="hi"') if width > 80 else "", f"{width:.1f}",
    )  # fmt: skip


def percent(value: float) -> str:
    return f"{value:.0f} %"


def size(value: float) -> str:
    for unit in SIZES:
        if value < 1000 or unit == SIZES[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit in SIZES[:2] else f"{value:.1f} {unit}"


# By name, as a template would call a function that it is given.
UNITS = {"percent": percent, "size": size}


def as_bytes(words: object) -> float:
    """`memory_max` of a configuration: bytes, or with K, M, G, T. 0 for none."""
    text = str(words or "").strip().upper()
    factor = 1024 ** ("KMGT".find(text[-1:]) + 1) if text[-1:] and text[-1] in "KMGT" else 1
    number = text.rstrip("KMGT")
    return float(number) * factor if number.replace(".", "", 1).isdecimal() else 0.0
