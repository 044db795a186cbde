"""How one agent is set up: the one schema behind agent.toml and agent.nix (design.md §8)."""

import difflib
import json
import re
import tomllib
from typing import Annotated, Any

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from broker.wire import Refused

TOOLS = ["Read", "Edit", "Write", "Glob", "Grep", "Bash"]
# What the harness and the driver set for claude themselves: a value from here would silently have no effect.
OURS = frozenset(
    ("PATH", "HOME", "LANG", "TMPDIR", "USER", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "MCP_TIMEOUT")
    + ("MCP_CONNECT_TIMEOUT_MS", "MCP_TOOL_TIMEOUT", "DISABLE_AUTOUPDATER", "ENABLE_TOOL_SEARCH")
)
OUR_PREFIXES = ("ANTHROPIC_", "CLAUDE", "HIVE_")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LEAST_DISK = 64 << 20

# pydantic matches in Rust, where $ is the very end and never before a last newline.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")]
Host = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$")]
Size = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}[KMGT]?$")]
Percent = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,5}%$")]
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,100}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
# A NUL can stand in no file name and no environment.
Plain = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=8000)]


def bytes_of(size: str) -> int:
    """Of a Size: '2G' is 2147483648."""
    return int(size.rstrip("KMGT")) * UNITS.get(size[-1], 1)


class AgentConfig(BaseModel):
    """What is silent has the default that is written here; a key that is not here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,99}$")] | None,
        Field(description="The model that claude thinks with, as `claude --model` takes it."),
    ] = None
    prompt: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=32_000)],
        Field(description="What the agent is told besides what every agent is told; appended to its system prompt."),
    ] = ""
    tools: Annotated[
        list[Word],
        Field(description="Claude's own tools that it may use; the hive's tools are always there."),
    ] = TOOLS
    egress: Annotated[
        list[Host],
        Field(description="Where it may connect to, `host` (port 443) or `host:port`, besides the model API."),
    ] = []
    memory_max: Annotated[Size | None, Field(description="The most memory it may use: bytes, or with K, M, G, T.")] = (
        None
    )
    cpu_quota: Annotated[Percent | None, Field(description="The most CPU time: 100% is one CPU.")] = None
    tasks_max: Annotated[
        Annotated[int, Field(gt=0, lt=2**31)] | None, Field(description="The most processes and threads.")
    ] = None
    disk_max: Annotated[
        Size | None,
        Field(description="The most that its files may take of the disk: bytes from 64M, or with K, M, G, T."),
    ] = None
    turn_timeout: Annotated[
        Annotated[int, Field(ge=1, le=86_400)] | None, Field(description="Seconds after which a turn is ended.")
    ] = None
    max_budget_usd: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        Field(description="US dollars that one turn may cost, by claude's own count."),
    ] = None
    packages: Annotated[list[Package], Field(description="Packages of nixpkgs to be there for its shell.")] = []
    env: Annotated[
        dict[Variable, Plain], Field(description="Variables for claude and all that it starts. They are no secrets.")
    ] = {}

    @field_validator("egress")
    @classmethod
    def _ports(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            port = re.search(r":([0-9]+)$", host)
            if port and not (host.endswith("]") or 0 < int(port[1]) < 65536):
                raise ValueError(f"{host} names no port between 1 and 65535")
        return hosts

    @field_validator("disk_max")
    @classmethod
    def _roomy(cls, size: str | None) -> str | None:
        if size is not None and bytes_of(size) < LEAST_DISK:
            raise ValueError(f"{size} is less than the 64M that a file system is of use with")
        return size

    @field_validator("env")
    @classmethod
    def _not_ours(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if name in OURS or name.startswith(OUR_PREFIXES):
                raise ValueError(f"{name} is set by the hive, so a value from here would have no effect")
        return env

    # ---- reading

    @classmethod
    def read(cls, given: dict[str, Any] | None) -> "AgentConfig":
        """The configuration as it was given; Refused with a sentence that names the key."""
        if not isinstance(given or {}, dict):
            raise Refused("bad_params", "A configuration is an object of keys and values.", "bad_config")
        try:
            return cls.model_validate(given or {})
        except ValidationError as error:
            raise Refused("bad_params", _sentence(error.errors()[0]), "bad_config") from None

    @classmethod
    def from_toml(cls, data: bytes) -> "AgentConfig":
        """What an agent.toml says; Refused with a sentence that names the line and the key."""
        try:
            text = data.decode()
            given = tomllib.loads(text)
        except UnicodeDecodeError as error:
            raise Refused("bad_params", f"agent.toml is not UTF-8 at byte {error.start}.", "bad_toml") from None
        except RecursionError:
            raise Refused("bad_params", "agent.toml is nested too deeply.", "bad_toml") from None
        except ValueError as error:
            raise Refused("bad_params", f"agent.toml is no TOML: {_placed(str(error))}.", "bad_toml") from None
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise Refused("bad_params", f"{_line(text, first['loc'])}{_sentence(first)}", "bad_config") from None

    # ---- saying

    def written(self) -> dict[str, Any]:
        """Only what was given, so that a better default reaches the agents of old."""
        return self.model_dump(exclude_unset=True)

    def as_toml(self) -> str:
        """The agent.toml that says the same; '' for one that says nothing."""
        given = self.written()
        tables = [(name, given.pop(name)) for name in list(given) if isinstance(given[name], dict)]
        lines = [f"{name} = {_toml(value)}" for name, value in given.items() if value is not None]
        for name, table in tables:
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "".join(f"{line}\n" for line in lines).lstrip("\n")

    def for_harness(self) -> dict[str, Any]:
        """The part that the harness acts on, with every default filled in."""
        return {
            "model": self.model or settings.HIVE_MODEL,
            "prompt": self.prompt,
            "tools": self.tools,
            "turn_timeout": self.turn_timeout or settings.HIVE_TURN_TIMEOUT,
            "idle_timeout": settings.HIVE_IDLE_TIMEOUT,
            "max_budget_usd": self.max_budget_usd,
            "env": self.env,
        }

    @staticmethod
    def changes(old: "AgentConfig", new: "AgentConfig") -> list[str]:
        """What will be different, a line per setting: 'egress +docs.example.org', 'memory_max 2G → 4G'."""
        before, after = old.model_dump(), new.model_dump()
        return [
            f"{name} {_change(before[name], after[name])}"
            for name in AgentConfig.model_fields
            if before[name] != after[name]
        ]


# ---- words for a change -----------------------------------------------------------------------------------------------


def _change(old: Any, new: Any) -> str:
    if isinstance(new, list):
        words = [f"+{item}" for item in new if item not in old] + [f"-{item}" for item in old if item not in new]
        return " ".join(words) or "in another order"
    if isinstance(new, dict):
        return " ".join(_keys(old, new))
    if isinstance(new, str) and max(len(new), len(old or ""), 1) > 60:
        return f"rewritten ({len(old or '')} → {len(new)} characters)"
    return f"{_value(old)} → {_value(new)}"


def _keys(old: dict[str, str], new: dict[str, str]) -> list[str]:
    names = [*old, *(name for name in new if name not in old)]
    return [
        f"+{name}={_value(new[name])}" if name not in old
        else f"-{name}" if name not in new
        else f"{name} {_value(old[name])} → {_value(new[name])}"
        for name in names if old.get(name) != new.get(name)
    ]  # fmt: skip


def _value(value: Any) -> str:
    if value in (None, ""):
        return "unset" if value is None else "empty"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _toml(value: Any) -> str:
    """JSON's strings, numbers and lists are TOML's too, but for DEL, which TOML wants written out."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# ---- words for what is wrong ------------------------------------------------------------------------------------------


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"][:2])[:60]
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, AgentConfig.model_fields, 1, 0.5)
        known = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(AgentConfig.model_fields)}."
        return f"No configuration key is called {key!r}. {known}"
    return f"The configuration's {key!r} will not do: {re.sub(r'^Value error, ', '', error['msg'])[:200]}."


def _placed(words: str) -> str:
    """tomllib's 'Expected … (at line 3, column 5)' with the place in front."""
    found = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", words, re.DOTALL)
    return f"at {found[2]}: {found[1]}" if found else words


def _line(text: str, loc: tuple[Any, ...]) -> str:
    """Where the innermost key of a complaint is written, as far as a search by line can tell; '' when it cannot."""
    for key in [part for part in loc[:2] if isinstance(part, str)][::-1]:
        written = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[.=\]]""")
        for number, line in enumerate(text.split("\n"), 1):
            if written.match(line):
                return f"agent.toml, line {number}: "
    return ""
