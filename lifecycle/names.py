"""What an agent may be called: short enough for `h-<name>` as a container, plain enough for every path, port and page."""

import re
from collections.abc import Container as Anything

from broker.wire import Refused

MANAGER = "hm1nd"
RULE = re.compile(r"[a-z]([a-z0-9-]{0,7}[a-z0-9])?")
LONGEST = 9
# Words that already mean somebody, everybody or the machine itself; each of them would make some sentence a lie.
RESERVED = frozenset(
    ("operator", "hive", "host", "manager", "daemon", "system", "root", "admin", "user", "localhost", "claude", MANAGER)
    + ("all", "everyone", "everybody", "agent", "agents", "nobody", "none", "null", "self", "me", "you")
)


def check(name: str, taken: Anything[str] = ()) -> str:
    """The name itself when it may be given to a new agent; Refused with the rule and a name that would do."""
    if not isinstance(name, str) or not RULE.fullmatch(name):
        rule = f"a name is 1 to {LONGEST} of a-z, 0-9 and '-', begins with a letter and does not end with '-'"
        raise Refused(
            "bad_params", f"{str(name)[:40]!r} cannot be an agent's name: {rule}. {_try(name, taken)}", "bad_name"
        )
    if name in RESERVED:
        raise Refused("bad_params", f"{name!r} is a reserved name. {_try(name, taken)}", "reserved_name")
    return name


def _try(name: str, taken: Anything[str]) -> str:
    return f"Try {suggest(str(name), taken)!r}."


def suggest(name: str, taken: Anything[str] = ()) -> str:
    """The nearest valid name that is free."""
    plain = re.sub(r"[^a-z0-9]+", "-", name[:200].lower()).lstrip("-0123456789")[:LONGEST].rstrip("-") or "scout"
    for number in range(1, 1000):
        ending = "" if number == 1 else f"-{number}"
        candidate = plain[: LONGEST - len(ending)].rstrip("-") + ending
        if candidate not in RESERVED and candidate not in taken:
            return candidate
    return "scout"
