"""An agent's container: what agent.nix may say, what it comes to, and that the schema is the one of agent.toml."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from broker.wire import Refused as BadConfig
from lifecycle import seed
from lifecycle.config import OUR_PREFIXES, OURS, AgentConfig
from lifecycle.drivers.inside import MANAGED, PLACES

from .nix import Refused, evaluate


def agent(module: str = "{ }", **meta: Any) -> Any:
    return evaluate(f"agent (builtins.fromJSON {nix_string(json.dumps(meta))}) ({module})")


def nix_string(text: str) -> str:
    return json.dumps(text).replace("${", "\\${")


def camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


# ---- what it is


def test_a_silent_agent_has_the_harness_and_what_the_hive_gives_to_all() -> None:
    iris = agent()
    assert iris["hostName"] == "h-iris"
    assert iris["isContainer"] is True
    assert iris["revision"] == "0123456789abcdef0123456789abcdef01234567"
    assert iris["agent"] == {
        "schema": 1,
        "name": "iris",
        "role": "agent",
        "manager": "hm1nd",
        "model_url": None,
        "config": {
            "model": "sonnet", "turn_timeout": 1800, "idle_timeout": 600, "prompt": "", "egress": [], "packages": [], "env": {},
            "tools": AgentConfig().tools,
        },
    }  # fmt: skip
    assert iris["unit"]["serviceConfig"]["ExecStart"].endswith(" -P -m django harness")
    assert iris["unit"]["wantedBy"] == ["multi-user.target"]
    assert iris["managed"] == json.loads(MANAGED.read_text())


def test_the_harness_finds_its_places_where_the_driver_binds_them() -> None:
    environment = agent()["unit"]["environment"]
    assert environment["HIVE_CLAUDE"].endswith("/bin/claude")
    assert "python" in environment["HIVE_PYTHON"]
    same = ("HIVE_RUN", "HIVE_JOURNAL", "HIVE_AGENT_FILE", "HIVE_STATE", "HIVE_WORKSPACE", "CLAUDE_CONFIG_DIR", "HOME")
    assert {name: environment[name] for name in same} == {name: PLACES[name] for name in same}


def test_the_manager_has_the_agents_repositories_besides() -> None:
    hm1nd = evaluate("manager { }")
    assert hm1nd["agent"]["role"] == "manager"
    assert hm1nd["hostName"] == "h-hm1nd"
    assert hm1nd["unit"]["environment"]["HIVE_AGENTS"] == "/agents"
    assert "HIVE_AGENTS" not in agent()["unit"]["environment"]


def test_commits_are_by_the_agent_unless_its_agent_nix_names_somebody_else() -> None:
    assert agent()["git"] == {"name": "iris", "email": "iris@hive.invalid"}
    assert agent('{ programs.git.config.user.name = "Iris"; }')["git"] == {"name": "Iris", "email": "iris@hive.invalid"}


def test_agent_nix_may_say_anything_that_nixos_knows() -> None:
    iris = agent('{ pkgs, ... }: { environment.systemPackages = [ pkgs.nodejs ]; time.timeZone = "Europe/Berlin"; }')
    assert {"nodejs", "git", "claude-code"} <= set(iris["packages"])


# ---- its settings

SAID = {
    "model": "opus",
    "prompt": 'Say "hi", ${name}.',
    "tools": ["Read", "Bash"],
    "egress": ["docs.example.org", "[::1]:8443"],
    "memory_max": "2G",
    "cpu_quota": "150%",
    "tasks_max": 64,
    "disk_max": "2G",
    "turn_timeout": 900,
    "max_budget_usd": 1.5,
    "packages": ["jq"],
    "env": {"EDITOR": "true"},
}


def test_the_schema_has_the_same_keys_here_and_there() -> None:
    keys = evaluate('import (/. + self.outPath + "/nix/keys.nix")')
    assert keys == {camel(key): key for key in AgentConfig.model_fields}


def test_every_setting_lands_in_agent_json_as_the_other_drivers_write_it() -> None:
    values = {camel(key): value for key, value in SAID.items() if key != "packages"}
    given = f"builtins.fromJSON {nix_string(json.dumps(values))}"
    iris = agent(f"{{ pkgs, ... }}: {{ hyperhive = {given} // {{ packages = [ pkgs.jq ]; }}; }}")
    assert {key: iris["agent"]["config"][key] for key in SAID} == SAID
    assert AgentConfig.read(SAID).written() == SAID
    assert "jq" in iris["packages"]


def test_what_it_was_spawned_with_holds_until_agent_nix_says_otherwise() -> None:
    iris = agent('{ hyperhive.model = "haiku"; }', config=SAID)
    assert iris["agent"]["config"]["model"] == "haiku"
    assert iris["agent"]["config"]["egress"] == SAID["egress"]
    assert iris["agent"]["config"]["memory_max"] == "2G"


def test_packages_are_named_as_nixpkgs_does_or_given_themselves() -> None:
    iris = agent('{ pkgs, ... }: { hyperhive.packages = [ "nodejs" pkgs.jq ]; }')
    assert iris["agent"]["config"]["packages"] == ["nodejs", "jq"]
    assert {"nodejs", "jq"} <= set(iris["packages"])


def test_what_a_fresh_agents_file_suggests_can_be_switched_on(tmp_path: Path) -> None:
    text = seed.text("iris", "agent.nix")
    (tmp_path / "silent.nix").write_text(text)
    assert agent(str(tmp_path / "silent.nix"))["agent"] == agent()["agent"]
    suggested = "".join(re.findall(r"(?m)^# (hyperhive\..*)$", text.replace("  # ", "\n# ")))
    assert suggested.count("hyperhive.") == len(AgentConfig.model_fields)
    (tmp_path / "loud.nix").write_text(f"{{ ... }}:\n{{\n{suggested}\n}}\n")
    config = agent(str(tmp_path / "loud.nix"))["agent"]["config"]
    assert {key: config[key] for key in seed.EXAMPLES} == seed.EXAMPLES


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "-rm"), ("model", ""), ("model", "a b"), ("tools", ["Bash(rm *)"]), ("tools", "Bash"),
        ("egress", ["https://x"]), ("egress", ["x:0"]), ("egress", ["x:65536"]), ("egress", ["x y"]),
        ("memory_max", "2g"), ("memory_max", "-1"), ("memory_max", 2), ("cpu_quota", "2"), ("tasks_max", 0),
        ("turn_timeout", 0), ("turn_timeout", 86401), ("max_budget_usd", 0), ("max_budget_usd", "1"),
        ("env", {"A B": "x"}), ("env", {"A": 1}), *(("env", {name: "x"}) for name in sorted(OURS)),
        *(("env", {f"{prefix}X": "x"}) for prefix in OUR_PREFIXES),
    ],
)  # fmt: skip
def test_what_agent_toml_may_not_say_agent_nix_may_not_say(key: str, value: Any) -> None:
    with pytest.raises(BadConfig):
        AgentConfig.read({key: value})
    with pytest.raises(Refused, match=f"not of type|hyperhive.{camel(key)}"):
        agent(f"{{ hyperhive.{camel(key)} = builtins.fromJSON {nix_string(json.dumps(value))}; }}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "claude-opus-4[1m]"), ("model", "x/y@z:1"), ("egress", ["x:1", "x:65535", "10.0.0.1"]), ("cpu_quota", "5%"),
        ("memory_max", "123"), ("max_budget_usd", 0.01), ("tools", []), ("turn_timeout", 86400),
        ("env", {"_a1": "", "PATHS": "x", "HIVE": "x", "MY_HIVE_": "x"}),
    ],
)  # fmt: skip
def test_what_agent_toml_may_say_agent_nix_may_say(key: str, value: Any) -> None:
    assert AgentConfig.read({key: value}).written() == {key: value}
    iris = agent(f"{{ hyperhive.{camel(key)} = builtins.fromJSON {nix_string(json.dumps(value))}; }}")
    assert iris["agent"]["config"][key] == value


# ---- what is refused

BAD = {
    "unknown option": ("{ hyperhive.modle = \"opus\"; }", "option `hyperhive.modle' does not exist"),
    "unknown option of NixOS": ("{ networking.hostname = \"x\"; }", "option `networking.hostname' does not exist"),
    "wrong type": ("{ hyperhive.tasksMax = \"many\"; }", "option `hyperhive.tasksMax' is not of type"),
    "syntax": ("{ pkgs, ... }: { environment.systemPackages = [ pkgs.git }", "syntax error"),
    "assertion": ("{ assertions = [ { assertion = false; message = \"never\"; } ]; }", "Failed assertions"),
    "no such package": ("{ pkgs, ... }: { hyperhive.packages = [ pkgs.nodejss ]; }", "attribute 'nodejss' missing"),
    "no module": ("[ ]", "list"),
    "two values": ("{ imports = [ { hyperhive.model = \"a\"; } { hyperhive.model = \"b\"; } ]; }", "has conflicting definition"),
    "endless": ("{ config, ... }: { hyperhive.prompt = config.hyperhive.prompt; }", "infinite recursion"),
    "a throw": ("{ hyperhive.model = throw \"nothing but trouble\"; }", "nothing but trouble"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_a_bad_agent_nix_is_refused_for_its_own_reason(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "agent.nix").write_text(text)
    with pytest.raises(Refused, match=re.escape(reason)):
        agent(str(tmp_path / "agent.nix"))


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"name": "UPPER"}, "hyperhive.agent.name' is not of type"),
        ({"name": "far-too-long"}, "hyperhive.agent.name' is not of type"),
        ({"name": 'a"; evil'}, "hyperhive.agent.name' is not of type"),
        ({"role": "operator"}, "hyperhive.agent.role' is not of type"),
        ({"sytem": "x86_64-linux"}, "meta.json: unknown keys: sytem"),
        ({"config": {"modle": "opus"}}, "meta.json: unknown keys: modle"),
        ({"config": {"packages": ["nodejss"]}}, "nixpkgs has no package called nodejss"),
        ({"config": {"memory_max": "lots"}}, "hyperhive.memoryMax' is not of type"),
    ],
)
def test_a_bad_meta_json_is_refused_for_its_own_reason(meta: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        agent("{ }", **meta)
