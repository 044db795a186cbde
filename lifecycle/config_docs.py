"""Writes docs/configuration.md from the schema itself: `python -m lifecycle.config_docs > docs/configuration.md`."""

import os
import sys
from typing import Any

import django

HEAD = """\
# Configuration of an agent

<!-- Written by `python -m lifecycle.config_docs > docs/configuration.md`: change lifecycle/config.py, not this page. -->

Each agent has one file that says how it is set up, `agent.toml` (drivers nspawn, bwrap and process) or `agent.nix` (driver
nixos, where each key is an option `hyperhive.*` in camelCase). The manager finds it in `/agents/NAME/config`, a git repository,
and changes it by a commit and `request_apply_commit`; you see the difference and decide; the agent is rebuilt between two
turns, and if it does not come up, the configuration from before comes back. `hive history NAME` lists what was applied,
`hive rollback NAME` applies an earlier one again. `hive spawn NAME --config FILE` takes the same file.

A key that is not given has its default, so that a better default reaches the agents of old. A key that is not known is refused
with the nearest one, and so is a key that the driver cannot honour. The three limits `memory_max`, `cpu_quota` and `tasks_max`
need cgroups: systemd, or root on a machine without it. Where they are, an agent that says nothing gets `HIVE_AGENT_MEMORY_MAX`
(4G, swap included), `HIVE_AGENT_CPU_QUOTA` (200%) and `HIVE_AGENT_TASKS_MAX` (2048); where they are not, `hive serve` says so.

`disk_max` needs root and loop devices. All that the agent writes to, `/state`, `/workspace`, `~/.claude` and its journal, is then
one file system in one sparse file below `rooms/` in the state directory, of `HIVE_AGENT_DISK_MAX` (10G; 0 for no limit) where the
agent says nothing. A new size takes effect with the rebuild; a smaller one only if what is there fits. Agents may be promised
more than the disk has: what they do not use takes no place. `hive destroy --purge` gives the file back. `hive doctor` says where
there is no limit, and why.

| key | what it is | form | default | drivers |
|---|---|---|---|---|
"""

FORMS = {
    "model": "word",
    "prompt": "text, at most 32,000 characters",
    "tools": "list of names",
    "egress": "list of `host` or `host:port`",
    "memory_max": 'such as `"2G"`',
    "cpu_quota": 'such as `"150%"`',
    "tasks_max": "number from 1",
    "disk_max": 'such as `"20G"`',
    "turn_timeout": "seconds, 1 to 86400",
    "max_budget_usd": "number above 0",
    "packages": "list of names",
    "env": "table of names and texts",
}
DEFAULTS = {"model": "`HIVE_MODEL`", "turn_timeout": "`HIVE_TURN_TIMEOUT`"}
# For each key a value that the schema takes: what a driver says to it is what the page says of the driver.
EXAMPLES: dict[str, Any] = {
    "model": "opus",
    "prompt": "You read papers.\nYou write down what they claim.",
    "tools": ["Read", "Bash", "WebFetch"],
    "egress": ["docs.example.org", "10.0.0.5:8080"],
    "memory_max": "2G",
    "cpu_quota": "150%",
    "tasks_max": 512,
    "disk_max": "20G",
    "turn_timeout": 900,
    "max_budget_usd": 0.5,
    "packages": ["ripgrep"],
    "env": {"TZ": "Europe/Berlin"},
}

TAIL = """
## An example

```toml
{example}```

Every variable that the hive sets itself is refused in `env`: {ours}, and all that begin with {prefixes}.
`env` is no place for secrets: the manager reads it, and git keeps it.
"""


def page() -> str:
    from .config import OUR_PREFIXES, OURS, AgentConfig  # once Django is set up

    rows = [_row(name, field) for name, field in AgentConfig.model_fields.items()]
    honoured = {name: value for name, value in EXAMPLES.items() if "bwrap" in _drivers(name)}
    ours = ", ".join(f"`{name}`" for name in sorted(OURS))
    prefixes = ", ".join(f"`{prefix}`" for prefix in OUR_PREFIXES)
    example = AgentConfig.read(honoured).as_toml()
    return HEAD + "".join(rows) + TAIL.format(example=example, ours=ours, prefixes=prefixes)


def _row(name: str, field: Any) -> str:
    default = DEFAULTS.get(name) or ("none" if field.default in (None, "", [], {}) else f"`{_words(field.default)}`")
    return f"| `{name}` | {field.description} | {FORMS[name]} | {default} | {', '.join(_drivers(name))} |\n"


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _drivers(name: str) -> list[str]:
    from .config import AgentConfig
    from .drivers import DRIVERS
    from .drivers.cgroups import NEEDS

    if name in NEEDS:
        return list(DRIVERS)
    if name == "disk_max":
        return [name for name in DRIVERS if name != "process"]
    config = AgentConfig.read({name: EXAMPLES[name]})
    return [driver.name for driver in DRIVERS.values() if not driver.cannot(config)]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hyperhive.settings")
    django.setup()
    sys.stdout.write(page())
