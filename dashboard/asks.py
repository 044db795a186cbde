"""What is said before something is done to an agent: what it does, what goes, what stays, and the command that does the same."""

from typing import Any, NamedTuple

from lifecycle.holdings import holdings
from lifecycle.models import Container

MESSAGES = "its messages: they wait, and none is lost"
FILES = "its notes, files, Claude login and conversation"
TURN = "the turn that runs now, if one does: its message waits again"


class Ask(NamedTuple):
    does: str
    goes: tuple[str, ...] = ()
    stays: tuple[str, ...] = (MESSAGES, FILES)


ASKS = {
    "start": Ask("Its container starts and it goes on with what waits for it."),
    "stop": Ask("Its container is asked to end.", (TURN,)),
    "restart": Ask("Its container is asked to end and started again.", (TURN,)),
    "rebuild": Ask(
        "Its container is made anew from what is configured and installed now. Cannot that be prepared, what runs goes on.",
        (TURN,),
    ),
    "kill": Ask("Its processes end at once, without being asked.", (TURN, "what its tools were writing just now")),
    "pause": Ask("The turn that runs ends as usual, and no other begins."),
    "resume": Ask("It goes on with what waits for it."),
    "destroy": Ask(
        "Its container ends for good. An agent that is spawned under its name later finds all that it left.",
        (TURN, "the container and its sockets"),
    ),
}
# With more than one agent; a name that has to be typed can only be one.
MANY = tuple(verb for verb in ASKS if verb != "destroy")


def one(row: Container, verb: str) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "ask": ASKS[verb],
        "verb": verb,
        "names": [row.name],
        "title": f"{verb} {row.name}?",
        "commands": [f"hive {verb} {row.name}"],
    }
    return asked | ({"holdings": holdings(row.name)} if verb == "destroy" else {})


def many(names: list[str], verb: str) -> dict[str, Any]:
    return {
        "ask": ASKS[verb],
        "verb": verb,
        "names": names,
        "title": f"{verb} {len(names)} agent{'s' if len(names) > 1 else ''}?",
        "commands": [f"hive {verb} {name}" for name in names],
    }
