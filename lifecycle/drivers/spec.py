"""What a driver is told (`Spec`), what it answers (`Status`), and how it says no (`DriverError`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from lifecycle.config import AgentConfig


def silent(words: str) -> None:
    """Nobody listens."""


class DriverError(Exception):
    """A driver cannot do what it was asked; the text is a sentence that says why and what would help."""


@dataclass(frozen=True)
class Spec:
    """One agent as its container is to be made."""

    name: str
    role: str
    uid: int
    manager: str
    config: AgentConfig = field(default_factory=AgentConfig)
    # What runs instead of the harness, in the tests of the drivers.
    command: tuple[str, ...] = ()
    # The applied agent.toml or agent.nix, to the byte; '' for none.
    source: str = ""
    # Told what a long step is at; whatever it raises ends that step.
    say: Callable[[str], None] = field(default=silent, compare=False, repr=False)


@dataclass(frozen=True)
class Status:
    """What is true of a container right now. `exit_code` is None while it runs, and when nobody was left to see it end."""

    state: str  # absent, running, stopped
    pid: int | None = None
    started_at: datetime | None = None
    exit_code: int | None = None
    fingerprint: str = ""
    # The sandbox's outer process: gone means that the exit code will not be known.
    watched: bool = True

    @property
    def running(self) -> bool:
        return self.state == "running"
