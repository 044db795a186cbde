"""Times as people write and read them: `--since 10m` in, `3 m` out. All of them are UTC."""

import argparse
import re
from datetime import UTC, datetime

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def age(moment: str | None) -> str:
    """How long ago an ISO time was, in its largest unit: '12 s', '3 m', '2 h', '4 d'."""
    return ago((datetime.now(UTC) - _utc(moment)).total_seconds()) if moment else ""


def ago(age: float) -> str:
    seconds = max(0, int(age))
    unit = next((unit for unit in ("d", "h", "m") if seconds >= UNITS[unit]), "s")
    return f"{seconds // UNITS[unit]} {unit}"


def clock(moment: str | None) -> str:
    return _utc(moment).strftime("%m-%d %H:%M:%S") if moment else ""


def lasted(begun: str | None, ended: str | None) -> str:
    return f"{(_utc(ended) - _utc(begun)).total_seconds():.1f} s" if begun and ended else ""


def seconds_ago(text: str) -> float:
    """'90s', '10m', '2h', '7d' or an ISO time, as an age in seconds."""
    if match := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return float(int(match[1]) * UNITS[match[2]])
    try:
        return max(0.0, (datetime.now(UTC) - _utc(text)).total_seconds())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 10m, 2h, 7d or 2026-01-31T12:00") from None


def hours(text: str) -> float:
    """'90m', '8h', '2d' as hours; 'off' as 0."""
    if text == "off":
        return 0.0
    if match := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return int(match[1]) * UNITS[match[2]] / 3600
    raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write 30m, 8h, 2d, or off")


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
