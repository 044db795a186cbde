"""Ids that grow as time passes. It knows no Django."""

import secrets
import time
import uuid


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, 5.7): what is made later sorts later, so an index grows at its end.

    By random ids, each row would change a page of its own somewhere in the index, and a commit would write them all.
    """
    stamp = time.time_ns() // 1_000_000
    return str(uuid.UUID(int=stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)))
