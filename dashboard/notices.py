"""Word outside that something waits: a POST with a link to look, never one that decides; muted, repeated, given up.

What waits stands in the rows (waits.py), what was told in `Notice`: a hive that dies in between tells once too often at most.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings
from django.utils import timezone

from broker.clean import clean
from broker.events import publish_on_commit
from broker.wire import Refused

from . import auth, waits
from .models import Mute, Notice
from .waits import Wait

# Seconds. A place that does not answer is tried again after FIRST, twice that, … and LONGEST, TRIES times in all: for hours.
TIMEOUT, FIRST, LONGEST, TRIES = 10, 5, 600, 20
LOOK = 60.0
# More at once than this go out in one piece.
APART = 3
# As long as this after it was told a state that comes again is no news.
AGAIN = timedelta(minutes=15)

Post = Callable[[str, list[Wait]], Request]


# ---- where to ---------------------------------------------------------------------------------------------------------


def webhook(url: str, some: list[Wait]) -> Request:
    place = auth.place()
    said = {"schema": 1, "title": title(some), "text": text(some), "url": place + page(some)}
    body = said | {"waits": [waits.as_json(one, place) for one in some]}
    return Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 (checked in post)


def ntfy(url: str, some: list[Wait]) -> Request:
    """As docs.ntfy.sh/publish has it: the text is the body, the rest are headers."""
    headers = {"Title": title(some), "Click": auth.place() + page(some), "Tags": "bee"}
    if settings.HIVE_NTFY_TOKEN_FILE:
        headers["Authorization"] = f"Bearer {held(settings.HIVE_NTFY_TOKEN_FILE)}"
    return Request(url, text(some).encode(), headers)  # noqa: S310


# Name -> the setting with its address, and what is sent there. `NAME_FILE` is a file with the address: it may be a secret.
TARGETS: dict[str, tuple[str, Post]] = {"webhook": ("HIVE_NOTIFY_URL", webhook), "ntfy": ("HIVE_NTFY_URL", ntfy)}


def targets() -> list[str]:
    return [
        name for name, (where, _) in TARGETS.items() if getattr(settings, where) or getattr(settings, f"{where}_FILE")
    ]


def address(name: str) -> str:
    where = TARGETS[name][0]
    return getattr(settings, where) or held(getattr(settings, f"{where}_FILE"))


def held(path: str) -> str:
    return Path(path).read_text().strip()


def title(some: list[Wait]) -> str:
    return f"hyperhive: {len(some)} wait for you" if len(some) > 1 else "hyperhive waits for you"


def text(some: list[Wait]) -> str:
    more = [f"… and {len(some) - APART} more"] if len(some) > APART else []
    return "\n".join([*(one.words for one in some[:APART]), *more])


def page(some: list[Wait]) -> str:
    return some[0].page if len(some) == 1 else "/"


class Stay(HTTPRedirectHandler):
    """A redirect is an error: what was sent must not go where nobody has said."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(name: str, some: list[Wait]) -> str:
    """'' once it was taken there, else why not, in words that give away no address."""
    try:
        url = address(name)
        if not url.startswith(("http://", "https://")):
            return f"{TARGETS[name][0]} is no http:// or https:// address"
        with build_opener(Stay).open(TARGETS[name][1](url, some), timeout=TIMEOUT):
            return ""
    except HTTPError as error:
        error.close()
        return f"it answered HTTP {error.code}"
    except (OSError, HTTPException, ValueError) as error:  # what is no address at all is a ValueError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        return clean(f"it cannot be reached: {getattr(reason, 'strerror', None) or reason}")[:200]


# ---- what is told, and when -------------------------------------------------------------------------------------------


def tell() -> float:
    """Tell what waits and was not told yet. Seconds until it is worth looking again, though nothing changes."""
    if mute := Mute.now():
        return max(1.0, (mute.until - timezone.now()).total_seconds())
    found = {one.key: one for one in waits.now() if one.kind in settings.HIVE_NOTIFY}
    for name in targets():
        told(name, found)
    waiting = Notice.objects.filter(told_at=None, attempt__lt=TRIES).order_by("next_at").first()
    return min(LOOK, max(1.0, (waiting.next_at - timezone.now()).total_seconds())) if waiting else LOOK


def told(name: str, found: dict[str, Wait]) -> None:
    now = timezone.now()
    rows = {row.key: row for row in Notice.objects.filter(target=name)}
    gone = [row.pk for row in rows.values() if row.key not in found and (not row.told_at or row.told_at < now - AGAIN)]
    if gone:
        Notice.objects.filter(pk__in=gone).delete()
    fresh = Notice.objects.bulk_create(Notice(key=key, target=name, next_at=now) for key in found if key not in rows)
    due = [row for row in [*rows.values(), *fresh] if row.key in found and is_due(row, now)]
    for some in [due] if len(due) > APART else [[row] for row in due]:
        note(some, post(name, [found[row.key] for row in some]))


def is_due(row: Notice, now: datetime) -> bool:
    if row.told_at:
        remind = timedelta(hours=settings.HIVE_NOTIFY_REMIND_HOURS)
        return bool(remind) and row.told_at + remind <= now
    return row.attempt < TRIES and row.next_at <= now


def note(some: list[Notice], error: str) -> None:
    now = timezone.now()
    for row in some:
        row.attempt, row.error = row.attempt + 1 if error else 0, error
        if error:
            # A reminder that fails is tried like the first word of it.
            row.told_at, row.next_at = None, now + timedelta(seconds=min(LONGEST, FIRST * 2 ** (row.attempt - 1)))
        else:
            row.told_at = now
        row.save()


def failing() -> list[dict[str, Any]]:
    """The places where the last attempt failed, and how."""
    rows = [Notice.objects.filter(target=name).exclude(error="").order_by("-next_at").first() for name in targets()]
    return [{"target": row.target, "error": row.error, "attempt": row.attempt} for row in rows if row]


# ---- what the operator says of it -------------------------------------------------------------------------------------


def mute(hours: float, by: str, where: str) -> dict[str, Any]:
    """Tell nothing for so long; 0 lets it go on."""
    Mute.set(timezone.now() + timedelta(hours=hours), by, where)
    publish_on_commit("approvals")
    return muted()


def muted() -> dict[str, Any]:
    mute = Mute.now()
    return {
        "muted_until": mute.until.isoformat() if mute else None,
        "by": mute.by if mute else "",
        "targets": targets(),
        "failing": failing(),
    }


def said() -> list[str]:
    """What a page has to say of it."""
    mute = Mute.now()
    quiet = [f"muted until {mute.until:%Y-%m-%d %H:%M} UTC by {mute.by}"] if mute else []
    return [*quiet, *(f"word to {one['target']} fails: {one['error']}" for one in failing())]


def test(by: str) -> list[dict[str, str]]:
    """A word to each place now, whatever is muted, and how it went."""
    if not (names := targets()):
        wanted = " or ".join(where for where, _ in TARGETS.values())
        raise Refused("conflict", f"Nowhere to tell anything: set {wanted}, then start the hive anew.", "no_target")
    trial = [waits.wait("test", "test", "", timezone.now(), f"{by} tries out whether this arrives.", "/")]
    return [{"target": name, "error": post(name, trial)} for name in names]
