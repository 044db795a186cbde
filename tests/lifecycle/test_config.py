"""The one schema of an agent's configuration."""

import pytest

from broker.wire import Refused
from lifecycle import config_docs
from lifecycle.config import AgentConfig


def test_where_it_is_silent_it_has_file_and_shell_tools_and_nothing_of_the_web(settings):
    config = AgentConfig.read(None)
    assert config.tools == ["Read", "Edit", "Write", "Glob", "Grep", "Bash"]
    assert config.written() == {}
    assert config.for_harness()["model"] == settings.HIVE_MODEL
    assert config.for_harness()["turn_timeout"] == settings.HIVE_TURN_TIMEOUT


def test_only_what_was_given_is_kept():
    given = {
        "model": "opus",
        "max_budget_usd": 2,
        "egress": ["docs.example.org", "10.0.0.5:8080", "[::1]:80"],
        "env": {"A": "b"},
    }
    assert AgentConfig.read(given).written() == given


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    with pytest.raises(Refused, match=r"'modle'. Did you mean 'model'\?"):
        AgentConfig.read({"modle": "x"})


@pytest.mark.parametrize(
    "given",
    [
        {"model": "a b"}, {"model": "x\n"}, {"model": "--x"}, {"tools": "Bash"}, {"tools": ["Bash(*)"]}, {"egress": ["a.b/c"]},
        {"egress": ["a:b:c"]}, {"egress": ["x\n"]}, {"turn_timeout": 0}, {"turn_timeout": "9"}, {"max_budget_usd": -1},
        {"env": {"A B": "c"}}, {"env": {"A": 1}}, {"prompt": 3}, {"tasks_max": 0}, {"memory_max": "much"}, "text", ["x"],
    ],
)  # fmt: skip
def test_what_will_not_do_is_refused_with_a_sentence(given):
    with pytest.raises(Refused) as refusal:
        AgentConfig.read(given)
    assert refusal.value.word == "bad_config"
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (b"model = opus\n", "agent.toml is no TOML: at line 1, column 9: "),
        (b"# one\n\nmodle = 'x'\n", "agent.toml, line 3: No configuration key is called 'modle'. Did you mean 'model'?"),
        (b"[env]\nTZ = 'x'\n'A B' = 'y'\n", "agent.toml, line 3: The configuration's 'env.A B' will not do: "),
        (b"egress = ['a.org',\n 'b/c']\n", "agent.toml, line 1: The configuration's 'egress.1' will not do: "),
        (b"turn_timeout = 1979-05-27\n", "agent.toml, line 1: The configuration's 'turn_timeout' will not do: "),
        (b"a = 1\na = 2\n", "agent.toml is no TOML: at line 2, column 6: Cannot overwrite a value."),
        (b"max_budget_usd = inf\n", "agent.toml, line 1: The configuration's 'max_budget_usd' will not do: "),
        (b"max_budget_usd = true\n", "agent.toml, line 1: The configuration's 'max_budget_usd' will not do: "),
        (b"prompt = '\xff'\n", "agent.toml is not UTF-8 at byte 10."),
        (b'prompt = "a\\u0000b"\n', "agent.toml, line 1: The configuration's 'prompt' will not do: "),
        (b"a = " + b"[" * 5000, "agent.toml is nested too deeply."),
        (b"env = {PATH = '/evil'}\n", "env' will not do: PATH is set by the hive, so a value from here would have no effect."),
        (b"env = {ANTHROPIC_BASE_URL = 'x'}\n", "ANTHROPIC_BASE_URL is set by the hive"),
        (b"egress = ['a.org:99999']\n", "a.org:99999 names no port between 1 and 65535."),
    ],
)  # fmt: skip
def test_a_file_that_will_not_do_is_refused_with_its_line(toml, sentence):
    with pytest.raises(Refused) as refusal:
        AgentConfig.from_toml(toml)
    assert sentence in str(refusal.value)


def test_what_the_harness_sets_itself_is_refused_in_env(tmp_path):
    from harness.config import BASE
    from harness.invocation import FIXED

    for name in {*BASE, *FIXED, "HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "NO_PROXY", "ANTHROPIC_API_KEY", "HIVE_RUN"}:
        with pytest.raises(Refused, match=f"{name} is set by the hive"):
            AgentConfig.read({"env": {name: "x"}})


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, []),
        ({"egress": ["a.org"]}, {"egress": ["docs.example.org"]}, ["egress +docs.example.org -a.org"]),
        ({"egress": ["a", "b"]}, {"egress": ["b", "a"]}, ["egress in another order"]),
        ({"memory_max": "2G"}, {"memory_max": "4G"}, ["memory_max 2G → 4G"]),
        ({}, {"model": "opus", "max_budget_usd": 2}, ["model unset → opus", "max_budget_usd unset → 2.0"]),
        ({}, {"tools": ["Read", "WebFetch"]}, ["tools +WebFetch -Edit -Write -Glob -Grep -Bash"]),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"B": "3", "C": ""}}, ["env -A B 2 → 3 +C=empty"]),
        ({"prompt": "short"}, {"prompt": "x" * 100}, ["prompt rewritten (5 → 100 characters)"]),
    ],
)
def test_the_settings_that_change_are_told(old, new, changes):
    assert AgentConfig.changes(AgentConfig.read(old), AgentConfig.read(new)) == changes


@pytest.mark.parametrize(
    "given",
    [
        {},
        config_docs.EXAMPLES,
        {"prompt": 'a "b"\n\t\\ é 🐝 \x7f\x01'},
        {"env": {"A": "'\"\n"}, "model": "opus"},
    ],
)
def test_what_is_written_as_toml_reads_as_the_same(given):
    assert AgentConfig.from_toml(AgentConfig.read(given).as_toml().encode()).written() == given


def test_the_page_about_it_is_current(settings):
    written = (settings.PROJECT / "docs/configuration.md").read_text()
    assert written == config_docs.page(), "run python -m lifecycle.config_docs > docs/configuration.md"
    assert set(config_docs.EXAMPLES) == set(AgentConfig.model_fields)
