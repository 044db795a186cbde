"""Who asks, and the shapes that what they say has to have."""

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from agents.models import STATES
from broker.wire import POLL, Peer
from broker.writer import writer as writer  # for the verbs beside it


class Caller(NamedTuple):
    """Who asks: told by the socket, never by what came over it."""

    name: str
    role: str  # a key of verbs.VERBS
    where: str

    def of(self, peer: Peer) -> Self:
        """An operator's socket is open to the hive's own user and to root: with which of them it was."""
        return self._replace(where=f"{self.where}, uid {peer.uid}") if self.role == "operator" else self


Name = Annotated[str, Field(max_length=40)]
Id = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Why = Annotated[str, Field(max_length=1000)]
Sha = Annotated[str, Field(max_length=64)]
Wait = Annotated[float, Field(ge=0, le=POLL)]
Seconds = Annotated[float, Field(ge=1, le=3600)]
Page = Annotated[int, Field(ge=1, le=1000)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class TurnRow(BaseModel):
    """A turn as a harness writes it."""

    model_config = ConfigDict(extra="forbid")
    id: Id
    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    session_id: Annotated[str, Field(max_length=64)] = ""
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    outcome: Annotated[str, Field(max_length=20)] = ""
    error: Annotated[str, Field(max_length=500)] = ""
    model: Annotated[str, Field(max_length=80)] = ""
    cli_version: Annotated[str, Field(max_length=40)] = ""
    cost_usd: Annotated[float, Field(ge=0, le=1e6)] = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    chain: Annotated[str, Field(max_length=64)] = ""


class EventRow(BaseModel):
    """An event as a harness writes it."""

    model_config = ConfigDict(extra="forbid")
    seq: Annotated[int, Field(ge=1, le=2**53)]
    turn: Id | None = None
    at: AwareDatetime
    kind: Annotated[str, Field(max_length=40)]
    payload: dict[str, Any]

    @model_validator(mode="after")
    def says_a_state(self) -> Self:
        """What a harness says of itself is taken over into a row: it has to fit."""
        if self.kind == "state":
            said = StateSaid.model_validate(self.payload)
            self.payload |= said.model_dump(mode="json", exclude_unset=True)
        return self


class StateSaid(BaseModel):
    """The payload of a `state` event."""

    model_config = ConfigDict(strict=True)
    state: Literal[tuple(STATES)]  # type: ignore[valid-type]
    why: Annotated[str, Field(max_length=10_000)] = ""
    until: Annotated[AwareDatetime, Field(strict=False)] | None = None
