"""How claude is started; that it then works is shown in test_flow."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.claude import NoClaude
from harness.config import Config
from harness.invocation import DUMMY_KEY, Binary, argv, environment, probe, write_files

from .conftest import agent_file


def config(folder: Path, **given: Any) -> Config:
    environ = {"HIVE_AGENT_FILE": agent_file(folder, **given), "HIVE_CLAUDE": str(folder / "claude"), "LANG": "C"}
    return Config.read(environ)


def script(folder: Path, text: str) -> None:
    (folder / "claude").write_text(f"#!{sys.executable}\n{text}")
    (folder / "claude").chmod(0o755)


def test_the_invocation_joins_its_lists_and_knows_what_the_version_has(tmp_path: Path) -> None:
    command = argv(config(tmp_path, tools=["Bash", "Read"]), Binary("2.1.330", True), tmp_path, ["--resume", "s"])
    assert command[1:9] == [
        "--print", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--resume", "s",
    ]  # fmt: skip
    assert command[command.index("--tools") + 1] == "Bash,Read"
    assert command[command.index("--allowedTools") + 1] == "mcp__hive,Bash,Read"
    assert command[command.index("--setting-sources") + 1] == ""
    assert command[-2:] == ["--system-prompt-snapshot", "off"]
    assert "--system-prompt-snapshot" not in argv(config(tmp_path), Binary("2.1.143", False), tmp_path, [])


def test_the_environment_is_built_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the host's own")
    given = environment(config(tmp_path, env={"MY": "own", "CLAUDE_CODE_DISABLE_ATTACHMENTS": "0"}), 99)
    assert given["MY"] == "own"
    assert given["CLAUDE_CODE_DISABLE_ATTACHMENTS"] == "1"
    assert given["HTTPS_PROXY"] == given["HTTP_PROXY"] == given["http_proxy"] == "http://127.0.0.1:99"
    assert "ANTHROPIC_API_KEY" not in given


def test_a_key_that_the_host_holds_is_not_inside(tmp_path: Path) -> None:
    given = environment(config(tmp_path, model_url="relay"), 99)
    assert given["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:99"
    assert given["ANTHROPIC_API_KEY"] == DUMMY_KEY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("print('2.0.1 (Claude Code)')", "2.1.143 or newer"),
        ("print('hello')", "does not tell its version"),
        ("", "does not tell its version"),
    ],
)
async def test_a_claude_that_we_cannot_drive_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    script(tmp_path, text)
    with pytest.raises(NoClaude, match=sentence):
        await probe(config(tmp_path))


async def test_a_claude_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoClaude, match="cannot be run: No such file"):
        await probe(config(tmp_path))


def test_the_files_of_a_run_name_the_shim_and_deny_the_credentials(tmp_path: Path) -> None:
    write_files(tmp_path, config(tmp_path), "You are it.", tmp_path / "relay.sock")
    hive = json.loads((tmp_path / "mcp.json").read_text())["mcpServers"]["hive"]
    assert hive["args"][:2] == ["-I", "-S"]
    assert Path(hive["args"][2]).exists()
    assert hive["alwaysLoad"] is True
    assert "Read(//root/.claude/**)" in (tmp_path / "settings.json").read_text()
