"""The model API as an agent sees it: the agent's request in the host's name, with the host's key, to where the host says.

What the agent sends as its credential is thrown away, so nothing inside a container is worth stealing.
"""

import asyncio
import re
import ssl
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from .egress_exchange import Streams, exchange, rewritten
from .egress_http import Head, refusal
from .egress_names import NotAllowed
from .egress_told import Traffic

ANTHROPIC = "https://api.anthropic.com"
# Seconds to reach it.
CONNECT_TIME = 20.0

# What the CLI asks for, and nothing else of the API: files, batches and the account stay out of reach.
ROUTES = re.compile(r"POST /v1/messages(/count_tokens)?(\?[!-~]*)?|HEAD /|(HEAD|GET) /api/hello")
# The agent's own credential, and what would tell upstream about the container.
DROPPED = {
    "x-api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "forwarded",
    "via",
    "x-forwarded-for",
}


async def forward(head: Head, agent: Streams, traffic: Traffic) -> None:
    """One request and its answer, both as they come. NotAllowed for anything but the routes above."""
    base = upstream()
    if not ROUTES.fullmatch(f"{head.method} {head.target}"):
        raise NotAllowed(
            f"The model API is served here for messages alone, not for {head.method} {head.target[:100]!r}."
        )
    url = urlsplit(base)
    held = {"x-api-key": key()} if settings.HIVE_ANTHROPIC_API_KEY_FILE else {}
    request = rewritten(head, f"{url.path}{head.target}", url.netloc.rpartition("@")[2], DROPPED, held)
    try:
        async with asyncio.timeout(CONNECT_TIME):
            server = await _connect(base)
    except (OSError, TimeoutError):
        agent[1].write(refusal(502, f"The model API at {base} cannot be reached from the host."))
        return
    await exchange(head, request, agent, server, traffic)


def upstream() -> str:
    if settings.HIVE_MODEL_URL:
        return settings.HIVE_MODEL_URL.rstrip("/")
    if settings.HIVE_ANTHROPIC_API_KEY_FILE:
        return ANTHROPIC
    raise NotAllowed(
        "The host holds no key for the model API (HIVE_ANTHROPIC_API_KEY_FILE): log in inside the container."
    )


def key() -> str:
    """Read anew each time, so that a changed file counts at once."""
    try:
        found = Path(settings.HIVE_ANTHROPIC_API_KEY_FILE).read_text().strip()
    except OSError as error:
        raise NotAllowed(f"The host cannot read its API key ({error.strerror}: HIVE_ANTHROPIC_API_KEY_FILE).") from None
    if not re.fullmatch(r"[!-~]{1,500}", found):
        raise NotAllowed("The file that HIVE_ANTHROPIC_API_KEY_FILE names holds no key.")
    return found


async def _connect(base: str) -> Streams:
    url = urlsplit(base)
    if url.scheme == "https":
        return await asyncio.open_connection(url.hostname, url.port or 443, ssl=_tls())
    return await asyncio.open_connection(url.hostname, url.port or 80)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
