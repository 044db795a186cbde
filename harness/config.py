"""What this harness was given: paths from its environment, role and limits from agent.json."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCHEMA = 1
TOOLS = ("Read", "Edit", "Write", "Glob", "Grep", "Bash")


class Misconfigured(Exception):
    """The driver gave the harness something it cannot start with; the text says what."""


@dataclass(frozen=True)
class Config:
    """Read anew for each turn, so that a changed agent.json counts from the next one on."""

    name: str
    role: str
    manager: str
    # None: Anthropic's own API. "relay": the host serves it, and no key is inside.
    model_url: str | None
    run: Path
    journal: Path
    state: Path
    workspace: Path
    # The manager's: the repositories of everybody's configuration.
    agents: Path
    claude: str
    python: str
    base: dict[str, str]
    model: str = "sonnet"
    prompt: str = ""
    tools: tuple[str, ...] = TOOLS
    turn_timeout: float = 1800
    idle_timeout: float = 600
    max_budget_usd: float | None = None
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Config":
        agent = _agent_file(Path(environ.get("HIVE_AGENT_FILE") or "/etc/hyperhive/agent.json"))
        given = {key: value for key, value in agent.get("config", {}).items() if key in LIMITS and value is not None}
        return cls(
            name=agent["name"],
            role=agent["role"],
            manager=agent.get("manager", "hm1nd"),
            model_url=agent.get("model_url"),
            run=Path(environ.get("HIVE_RUN") or "/run/hive"),
            journal=Path(environ.get("HIVE_JOURNAL") or "/var/lib/hive"),
            state=Path(environ.get("HIVE_STATE") or "/state"),
            workspace=Path(environ.get("HIVE_WORKSPACE") or "/workspace"),
            agents=Path(environ.get("HIVE_AGENTS") or "/agents"),
            claude=environ.get("HIVE_CLAUDE") or "/opt/hive/claude",
            python=environ.get("HIVE_PYTHON") or sys.executable,
            base={name: environ.get(name) or default for name, default in BASE.items()},
            **(given | {"tools": tuple(given.get("tools", TOOLS))}),
        )

    @property
    def claude_dir(self) -> str:
        return self.base["CLAUDE_CONFIG_DIR"]


# What claude inherits of our own environment, with what it is where the driver is silent.
BASE = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 (the container's own)
    "CLAUDE_CONFIG_DIR": "/root/.claude",
}
LIMITS = ("model", "prompt", "tools", "turn_timeout", "idle_timeout", "max_budget_usd", "env")


def _agent_file(path: Path) -> dict:
    try:
        agent = json.loads(path.read_text())
        if agent["schema"] != SCHEMA:
            raise Misconfigured(f"{path} has schema {agent['schema']}, this harness reads {SCHEMA}: rebuild the agent.")
        return {"name": agent["name"], "role": agent["role"]} | agent
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"{path} is no agent file: {error}.") from None
