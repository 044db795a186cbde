"""What every driver can do: the verbs that steps and work call, each of them harmless when repeated."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from lifecycle.config import AgentConfig

from .spec import Spec, Status

# Seconds that a container has to end by itself, and bytes of a log that are read at once.
GRACE = 10.0
LOG_PAGE = 64 * 1024


class Driver(ABC):
    name: ClassVar[str]
    # Whether update() alone brings a running container to the new configuration.
    reloads: ClassVar[bool] = False

    @abstractmethod
    def probe(self) -> str:
        """'' when this machine can do it, else a sentence that says what is missing."""

    @abstractmethod
    def owner(self, spec: Spec) -> int:
        """The host's user that the agent runs as: its files are that user's, and its sockets let that user in."""

    @abstractmethod
    def fingerprint(self, spec: Spec) -> str:
        """Equal when a container that is made now would be the same."""

    @abstractmethod
    def prepare(self, spec: Spec) -> None:
        """Everything that can fail before anything runs; DriverError when the agent could not be started."""

    @abstractmethod
    def start(self, spec: Spec) -> Status:
        """Start it; nothing to do when it runs as it should, DriverError when it runs in another way."""

    @abstractmethod
    def stop(self, name: str, grace: float = GRACE) -> Status:
        """Ask it to end, make it end, and see that it has."""

    @abstractmethod
    def kill(self, name: str) -> Status: ...

    @abstractmethod
    def status(self, name: str) -> Status: ...

    @abstractmethod
    def update(self, spec: Spec) -> bool:
        """Bring in the new configuration; True when the running container has to be started anew to see it."""

    @abstractmethod
    def destroy(self, name: str) -> None: ...

    @abstractmethod
    def list(self) -> list[str]:
        """The names of all that run, whether or not anybody knows them."""

    @abstractmethod
    def logs(self, name: str, after: int | None = None, most: int = LOG_PAGE) -> tuple[str, int]:
        """Up to `most` bytes of its output from position `after` on (None: the end of it), and where to go on."""

    @abstractmethod
    def wait(self, name: str, seconds: float) -> Status:
        """Its status once it has ended, or after that many seconds."""

    @abstractmethod
    def watch(self, name: str) -> int | None:
        """A descriptor that becomes readable when it ends, for the caller to close; None when it does not run."""

    # ---- what a driver may know better

    def by_default(self) -> bool:
        """Whether it is chosen where nobody asks for a driver."""
        return True

    def cannot(self, config: AgentConfig) -> str:
        """'' when every setting can take effect here, else a sentence that names those that cannot."""
        return ""

    def trim(self, name: str) -> bool:
        """Begin its log anew before it fills the disk, and whether that was done: asked every two seconds while it runs."""
        return False

    def known_to_fail(self, spec: Spec) -> str:
        """Why this very configuration failed before, so that nobody tries it again by himself; '' when it did not."""
        return ""

    def configured(self, name: str) -> dict[str, Any] | None:
        """What the host acts on (limits, egress) of how it was made, where only the driver can tell; else None."""
        return None
