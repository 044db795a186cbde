"""Where everything of an agent lies on disk (design.md §4): state that lasts, and sockets that come and go."""

import zlib
from pathlib import Path

from django.conf import settings


def agent_dir(name: str) -> Path:
    return settings.HIVE_STATE_DIR / "agents" / name


def proposed_dir() -> Path:
    """All proposed repositories: the manager's /agents. Apart from everything that another container is given."""
    return settings.HIVE_STATE_DIR / "proposed"


def config_dir(name: str) -> Path:
    """The proposed configuration, the manager's to edit."""
    return proposed_dir() / name / "config"


def state_dir(name: str) -> Path:
    """The agent's durable notes."""
    return agent_dir(name) / "state"


def home_dir(name: str) -> Path:
    return settings.HIVE_STATE_DIR / "homes" / name


def claude_dir(name: str) -> Path:
    """Credentials and transcripts: never shown to the manager."""
    return home_dir(name) / "claude"


def journal_dir(name: str) -> Path:
    return home_dir(name) / "journal"


def workspace_dir(name: str) -> Path:
    return home_dir(name) / "workspace"


def image(name: str) -> Path:
    """The file whose file system holds all that the agent writes (room.py)."""
    return settings.HIVE_STATE_DIR / "rooms" / f"{name}.img"


def applied_dir(name: str) -> Path:
    """What was approved, as the host wrote it."""
    return settings.HIVE_STATE_DIR / "applied" / name


def agent_file(name: str) -> Path:
    return applied_dir(name) / "agent.json"


def run_dir(name: str) -> Path:
    """run.json, status.jsonl, run.lock and log of its runs."""
    return settings.HIVE_STATE_DIR / "run" / name


def unit(name: str) -> str:
    """What the machine calls an agent of this hive, where other hives have agents of the same name."""
    return f"hive-{zlib.crc32(str(settings.HIVE_STATE_DIR).encode()):08x}-{name}"


def socket_dir(name: str, role: str) -> Path:
    """Bound read-only into the container. Never removed and made anew while its agent runs: it would lose the sockets."""
    if role == "manager":
        return settings.HIVE_RUNTIME_DIR / "manager"
    return settings.HIVE_RUNTIME_DIR / "agents" / name


def owned_by_agent(name: str) -> list[Path]:
    """The directories that the agent itself writes."""
    return [state_dir(name), claude_dir(name), journal_dir(name), workspace_dir(name)]


def purged(name: str, role: str) -> list[Path]:
    """Everything that a purge removes."""
    proposed = config_dir(name).parent
    return [agent_dir(name), proposed, home_dir(name), applied_dir(name), run_dir(name), socket_dir(name, role)]
