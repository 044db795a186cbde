"""What each agent gets for itself alone, for as long as its row lasts: a user of the host, and a port for its page."""

import zlib
from collections.abc import Collection

from django.conf import settings

from broker.wire import Refused

# Users of one hive; far above those of people and services, and of the ranges that containers are mapped to.
USERS, FIRST, HIVES = 1000, 1_900_000_000, 2000


def place() -> int:
    """Which of the HIVES this is: hangs on its state directory, so that two hives do not meet."""
    return zlib.crc32(str(settings.HIVE_STATE_DIR).encode()) % HIVES


def base() -> int:
    """Where this hive's thousand begins."""
    return settings.HIVE_UID_BASE or FIRST + place() * USERS


def git_uid() -> int:
    """Who receives what an agent's repository sends: no agent of any hive, and not root."""
    return settings.HIVE_UID_BASE - 1 if settings.HIVE_UID_BASE > 1 else FIRST - HIVES + place()


def uid(taken: Collection[int]) -> int:
    """The lowest free one."""
    free = next((uid for uid in range(base(), base() + USERS) if uid not in taken), None)
    if free is None:
        raise Refused(
            "busy", f"This hive has given out all its {USERS} users: purge agents you no longer need.", "full"
        )
    return free


def port(name: str, role: str, taken: Collection[int | None]) -> int | None:
    """Where the name hashes to, or the next free one of the range; None when no ports are configured or none is left."""
    if role == "manager":
        return int(settings.HIVE_MANAGER_PORT) if settings.HIVE_MANAGER_PORT else None
    if not settings.HIVE_AGENT_PORTS:
        return None
    first, last = (int(port) for port in settings.HIVE_AGENT_PORTS.split("-"))
    count = last - first + 1
    begin = zlib.crc32(name.encode()) % count
    return next(
        (first + (begin + step) % count for step in range(count) if first + (begin + step) % count not in taken), None
    )
