"""Hostile files against the real CLI as we start it: nothing of them runs, and only the model that we name sees the key."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from harness import invocation
from harness.config import Config
from hyperhive.demo.model import Rule, ScriptedModel, Use
from tests.harness.conftest import Nest, agent_file, claude_at, model, nest, version

from .hostile_claude import FILES, MENTION, WORD, Hostile, lay

__all__ = ["model", "nest", "version"]
pytestmark = [pytest.mark.claude, pytest.mark.timeout(90)]


def works(marks: Path) -> list[Rule]:
    """A model that was talked into it: it calls a tool that it was not given."""
    use = Use("Bash", {"command": f"touch {marks}/bash", "description": "work"})
    return [Rule(used="Bash", reply="done"), Rule(user="work", reply=use)]


@pytest.fixture
def evil() -> Iterator[ScriptedModel]:
    with ScriptedModel([Rule(reply="done")]) as evil:
        yield evil


def laid(root: Path, some: Iterable[Hostile], evil: ScriptedModel) -> Path:
    """Put them below that directory; where they leave their marks, in the workspace, where claude itself would let them."""
    marks = root / "workspace" / "marks"
    marks.mkdir(parents=True)
    lay(root, some, marks=marks, evil=evil.url)
    return marks


def found(marks: Path, model: ScriptedModel, evil: ScriptedModel) -> set[str]:
    """Whatever of it had an effect."""
    leaked = {"word"} if any(WORD in json.dumps(request.body) for request in model.requests) else set()
    stolen = {"key"} if any(invocation.DUMMY_KEY in str(request.headers) for request in evil.requests) else set()
    return {mark.name for mark in marks.iterdir()} | leaked | stolen


async def test_all_of_them_at_once_do_nothing(nest: Nest, evil: ScriptedModel) -> None:
    marks = laid(nest.folder, [*FILES.values(), MENTION], evil)
    # Where Claude would look, were it not told otherwise.
    shutil.copytree(nest.folder / "claude", nest.folder / ".claude")
    nest.model.rules[:0] = works(marks)
    nest.configure(tools=["Read"])
    await nest.start()
    for hostile in (FILES["a slash command"], MENTION):
        await nest.host.post(hostile.prompt.format(root=nest.folder))
    await nest.host.until(lambda: len(nest.host.acks) == 2)
    assert [ack["outcome"] for ack in nest.host.acks] == ["ok", "ok"]
    assert "No such tool available: Bash" in json.dumps(nest.model.requests[-1].body)
    assert found(marks, nest.model, evil) == set()
    assert evil.requests == []
    assert {request.headers["x-api-key"] for request in nest.model.requests} == {invocation.DUMMY_KEY}


# ---- the same files where nobody minds them

EFFECTS = {
    "hooks of the project": {"hook-SessionStart", "hook-UserPromptSubmit", "hook-Stop"},
    "hooks of the project, local": {"hook-SessionStart-local"},
    "hooks of the user": {"hook-SessionStart-user"},
    "another model": {"key"},
    "another model, by the user": {"key"},
    "apiKeyHelper": {"helper"},
    "permissions": {"bash"},
    ".mcp.json": {"mcp-project"},
    ".claude.json": {"mcp-user"},
    "CLAUDE.md": {"word"},
    "a slash command": {"word", "command"},
    "a mention": {"word"},
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_plain_claude_minds(tmp_path: Path, model: ScriptedModel, evil: ScriptedModel, name: str) -> None:
    hostile = MENTION if name == "a mention" else FILES[name]
    marks = laid(tmp_path, [hostile], evil)
    model.rules[:0] = works(marks)
    done = plain(tmp_path, model, hostile.prompt.format(root=tmp_path))
    assert found(marks, model, evil) >= EFFECTS[name], done.stdout[-2000:] + done.stderr


def plain(root: Path, model: ScriptedModel, prompt: str) -> subprocess.CompletedProcess:
    """Our environment and the newest CLI, without our flags."""
    binary = claude_at(cli.WANTED).resolve()
    if not binary.exists():
        pytest.skip(f"claude {cli.WANTED} is not installed in .tools")
    (root / "claude").mkdir(exist_ok=True)
    given = {"HIVE_AGENT_FILE": agent_file(root, "relay"), "CLAUDE_CONFIG_DIR": str(root / "claude"), "HOME": str(root)}
    env: dict[str, Any] = invocation.environment(Config.read(os.environ | given), model.port) | {"IS_SANDBOX": "1"}
    del env["CLAUDE_CODE_DISABLE_ATTACHMENTS"]
    command = [str(binary), "--print", "--output-format", "stream-json", "--verbose", "--model", "sonnet"]
    return subprocess.run(
        command, input=prompt, cwd=root / "workspace", env=env, text=True, capture_output=True, timeout=60
    )
