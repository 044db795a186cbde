"""How claude is started: the binary that was found, its flags, its files, its environment.

The invocation is the one that was proven with every version from 2.1.143 to 2.1.330; flags that look left out were.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from agents import cli

from . import leftovers
from .claude import NoClaude
from .config import Config

# Seconds for the binary to say its version and its flags.
PROBE = 30.0

FIXED = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    # Both are needed in some version or other for the hive's tools to be there in the first request.
    "ENABLE_TOOL_SEARCH": "false",
    "MCP_CONNECT_TIMEOUT_MS": "30000",
    "MCP_TIMEOUT": "30000",
    "MCP_TOOL_TIMEOUT": "120000",
    # Else the process outlives its result for as long as a background command runs.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    # Else ` @/any/path` in a peer's message is read and sent to the model, credentials too.
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_MAX_RETRIES": "4",
}
# A key that opens nothing: the host puts the real one into the request.
DUMMY_KEY = "held-by-the-host"


@dataclass(frozen=True)
class Binary:
    """The claude that was found, and what it can do."""

    version: str
    has_snapshot: bool


async def probe(config: Config) -> Binary:
    """Ask the binary for its version and flags; NoClaude when it is missing, broken or too old."""
    version, help_ = await asyncio.gather(said(config, "--version"), said(config, "--help"))
    try:
        too_old = cli.parse(version) < cli.parse(cli.FLOOR)
    except (ValueError, IndexError):
        raise NoClaude(f"{config.claude} does not tell its version: {version[:80]!r}.") from None
    if too_old:
        raise NoClaude(f"{config.claude} is version {version.split()[0]}; {cli.FLOOR} or newer is needed.")
    return Binary(version.split()[0], "--system-prompt-snapshot" in help_)


async def said(config: Config, *words: str, seconds: float = PROBE) -> str:
    """What claude answers to that on its stdout; NoClaude when there is no claude, or none that ends."""
    try:
        process = await asyncio.create_subprocess_exec(
            # Under the agent's own variables: one of them may be what keeps claude from starting.
            config.claude, *words, env=config.env | config.base | FIXED, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
    except OSError as error:
        raise NoClaude(f"{config.claude} cannot be run: {error.strerror}.") from None
    try:
        with leftovers.spared(process.pid):
            async with asyncio.timeout(seconds):
                return (await process.communicate())[0].decode(errors="replace").strip()
    except TimeoutError:
        process.kill()
        raise NoClaude(f"{config.claude} {' '.join(words)} does not end.") from None


def write_files(folder: Path, config: Config, role: str, relay: Path) -> None:
    """The three files of one run; claude's own flags point at them, so nothing of them stands in the process list."""
    shim = Path(__file__).with_name("shim.py")
    server = {"command": config.python, "args": ["-I", "-S", str(shim), str(relay)], "alwaysLoad": True}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"hive": server}}))
    deny = [f"Read(/{config.claude_dir}/**)", f"Edit(/{config.claude_dir}/**)"]
    (folder / "settings.json").write_text(json.dumps({"permissions": {"deny": deny}}))
    (folder / "role.md").write_text(role)


def argv(config: Config, binary: Binary, folder: Path, session: list[str]) -> list[str]:
    """Flags that take several values are given them joined by commas: they would swallow what follows."""
    tools = ",".join(config.tools)
    optional = ["--system-prompt-snapshot", "off"] if binary.has_snapshot else []
    if config.max_budget_usd is not None:
        optional += ["--max-budget-usd", str(config.max_budget_usd)]
    return [
        config.claude, "--print", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", *session,
        "--mcp-config", str(folder / "mcp.json"), "--strict-mcp-config",
        "--setting-sources", "", "--settings", str(folder / "settings.json"),
        "--tools", tools, "--allowedTools", ",".join(filter(None, ("mcp__hive", tools))),
        "--permission-mode", "dontAsk", "--model", config.model,
        "--append-system-prompt-file", str(folder / "role.md"), *optional,
    ]  # fmt: skip


def environment(config: Config, port: int) -> dict[str, str]:
    """Built from nothing; what the operator configured comes first, so that it cannot undo what is fixed."""
    proxy = f"http://127.0.0.1:{port}"
    given = identity(config) | config.env | config.base | FIXED | {leftovers.MARK: str(config.journal)}
    # In small letters for curl, git and pip, which read no other; claude itself must not see its model behind a proxy.
    given |= {"HTTPS_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "127.0.0.1,localhost"}
    if config.model_url == "relay":
        return given | {"ANTHROPIC_BASE_URL": proxy, "ANTHROPIC_API_KEY": DUMMY_KEY}
    return given | {"HTTP_PROXY": proxy}


def identity(config: Config) -> dict[str, str]:
    """Who git says that a commit is by. No host is meant by the address, and none can be (RFC 2606)."""
    return {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", config.name), ("EMAIL", f"{config.name}@hive.invalid"))
    }
