"""A full disk: some of it is kept in reserve, so that what is there can still be read and acked while sends are refused."""

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from .events import publish
from .wire import Refused

log = logging.getLogger("hive.disk")

# Bytes. Less than LOW is a full disk; the reserve is taken again once twice as much is free.
LOW = 1024 * 1024

_short = False


def short() -> bool:
    """Whether the reserve was given back, so that nothing new is taken."""
    return _short


def refusal() -> Refused:
    return Refused("busy", "The disk that holds the hive is full: free some space, then try again.", "disk_full")


def state() -> dict[str, Any]:
    return {"full": _short, "free": _free(), "reserve": _reserve().stat().st_size if _reserve().exists() else 0}


def room_for_a_copy(place: Path) -> bool:
    """Whether a copy of the database fits there, and leaves as much as a full disk is left with."""
    database = Path(connection.settings_dict["NAME"])
    return _free(place) > database.stat().st_size + 2 * settings.HIVE_DISK_RESERVE


def look() -> None:
    """Every few seconds: take the reserve where there is room for it, give it back where there is none at all."""
    size = settings.HIVE_DISK_RESERVE
    if _reserve().exists() and not _short:
        if _free() < LOW:
            release()
    elif _free() >= 2 * size:
        _take(size)


def release() -> bool:
    """The disk is full: give the reserve back and take nothing new. False when there was none any more."""
    try:
        _reserve().unlink()
    except OSError:
        return False
    finally:
        _now(True)
    return True


def is_full(error: BaseException) -> bool:
    """Whether SQLite says with it that the disk is full; a limit on a file's size it calls an I/O error."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return isinstance(cause, sqlite3.OperationalError) and ("full" in str(cause) or "disk I/O" in str(cause))


def _take(size: int) -> None:
    half = _reserve().with_name("reserve.part")
    try:
        with open(half, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            os.fsync(file.fileno())
        half.replace(_reserve())
    except OSError as error:
        half.unlink(missing_ok=True)
        log.warning("no reserve of %d bytes can be taken on the disk: %s", size, error)
        return
    _now(False)


def _now(full: bool) -> None:
    global _short
    if full != _short:
        log.log(logging.ERROR if full else logging.INFO, "the disk is %s", FULL if full else ROOM)
        _short = full
        publish("disk")


FULL = "full: nothing new is taken until some space is free; what waits is delivered all the same"
ROOM = "no longer full: messages are taken again"


def _reserve() -> Path:
    """Beside the database: in a container, whose journal has none, there is nothing to give back."""
    return Path(connection.settings_dict["NAME"]).with_name("reserve")


def _free(place: Path | None = None) -> int:
    disk = os.statvfs(place or _reserve().parent)
    return disk.f_bavail * disk.f_frsize
