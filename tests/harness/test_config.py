from pathlib import Path

import pytest

from harness.config import Config, Misconfigured

from .conftest import agent_file


def test_what_the_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    config = Config.read({"HIVE_AGENT_FILE": agent_file(tmp_path, turn_timeout=5, max_budget_usd=None, egress=["x"])})
    assert (config.name, config.turn_timeout, config.max_budget_usd) == ("scout", 5, None)
    assert config.run == Path("/run/hive")


def test_no_tools_is_not_the_default_tools(tmp_path: Path) -> None:
    assert Config.read({"HIVE_AGENT_FILE": agent_file(tmp_path, tools=[])}).tools == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2, "name": "x", "role": "agent"}'])
def test_a_file_that_is_none_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent.json").write_text(text)
    with pytest.raises(Misconfigured, match=r"agent\.json"):
        Config.read({"HIVE_AGENT_FILE": str(tmp_path / "agent.json")})


def test_a_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        Config.read({"HIVE_AGENT_FILE": str(tmp_path / "none.json")})
