"""services.hive-c0re: from options to a unit, and from its environment to the settings that the daemon reads."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import units
from .nix import PROJECT, Refused, changed, copy, evaluate

# Settings that no option stands for: extraEnvironment reaches them.
WITHOUT_OPTION = {
    "HIVE_TURN_TIMEOUT", "HIVE_IDLE_TIMEOUT", "HIVE_UID_BASE", "HIVE_BUILD_TIMEOUT", "HIVE_LOG_LEVEL",
    "HIVE_EVENTS_FILES_BYTES", "HIVE_DAILY_BUDGET_USD",
    # Secrets as often as not: their files have options.
    "HIVE_NOTIFY_URL", "HIVE_NTFY_URL",
}  # fmt: skip
ALL = """
  listen = "::"; port = 7443; managerPort = null; agentPorts = { from = 9100; to = 9199; };
  allowedHosts = [ "hive.example.org" ]; openFirewall = true; stateDir = "/srv/hive"; retentionDays = 45;
  approvalExpiryDays = 3; eventsMiB = 8; diskReserveMiB = 32;
  driver = "bwrap"; trustAgents = true; autoUpdate = false; claudePackage = claude;
  agents.limits = { memoryMax = "2G"; cpuQuota = "50%"; tasksMax = 99; };
  model = "opus"; modelUrl = "https://models.example.org"; anthropicApiKeyFile = "/run/keys/anthropic";
  url = "https://hive.example.org"; logFormat = "json"; metricsTokenFile = "/run/keys/metrics";
  notify = { what = [ "approval" ]; remindHours = 4; webhookFile = "/run/keys/hook"; ntfyFile = "/run/keys/ntfy";
    ntfyTokenFile = "/run/keys/ntfy-token"; };
  extraFlags = [ "--stop-agents" "50% off" ]; extraEnvironment.HIVE_TURN_TIMEOUT = "60";
"""


def host(options: str = "", project: Path = PROJECT) -> Any:
    claude = 'claude = (import (/. + self.outPath + "/nix/stub")).legacyPackages.${system}.claude-code;'
    module = f"let {claude} in {{ services.hive-c0re = {{ enable = true; {options} }}; }}"
    return evaluate(f"host ({module})", project)


def unit(options: str = "", project: Path = PROJECT) -> dict[str, Any]:
    return host(options, project)["units"]["hive-c0re"]


def settings(environment: dict[str, str]) -> dict[str, Any]:
    """The settings as a daemon in that environment has them; systemd turns %% into %."""
    given = {name: value.replace("%%", "%") for name, value in environment.items()}
    show = "import json, hyperhive.settings as s; "
    show += "print(json.dumps({name: value for name, value in vars(s).items() if name.isupper()}, default=str))"
    words = [sys.executable, "-c", show]
    done = subprocess.run(words, cwd=PROJECT, env=given, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


# ---- a machine


def test_a_host_that_does_not_enable_it_is_left_alone() -> None:
    off = evaluate("host { }")
    assert off["units"] == {}
    assert off["packages"] == []
    assert off["rules"] == []
    assert off["allowedTCPPorts"] == []
    assert off["enableContainers"] is False or os.environ.get("HIVE_NIXPKGS")


def test_a_host_that_enables_it_gets_the_unit_the_command_and_containers() -> None:
    on = host()
    assert on["enableContainers"] is True
    assert on["packages"] == ["hyperhive"]
    assert on["rules"] == ["d /var/lib/hyperhive 0700 root root -"]
    assert on["allowedTCPPorts"] == []
    assert on["allowedTCPPortRanges"] == []
    service = on["units"]["hive-c0re"]
    assert service["wantedBy"] == ["multi-user.target"]
    assert re.fullmatch(r'"/nix/store/[^/]+/bin/hive" "serve"', service["serviceConfig"]["ExecStart"])


def test_the_firewall_is_opened_when_asked_and_for_all_pages() -> None:
    opened = host("openFirewall = true;")
    assert opened["allowedTCPPorts"] == [7000, 8000]
    assert opened["allowedTCPPortRanges"] == [{"from": 8100, "to": 8999}]


def test_agents_are_built_from_this_very_flake_unless_another_is_named() -> None:
    environment = unit()["environment"]
    assert environment["HIVE_FLAKE_URL"] == evaluate('"path:${self.outPath}"')
    assert environment["HIVE_NIXPKGS_URL"] == evaluate('"path:${nixpkgs.outPath}"')
    other = unit('hyperhiveFlake = "github:example/hive/0123";')["environment"]
    assert other["HIVE_FLAKE_URL"] == "github:example/hive/0123"


# ---- the unit


def test_sockets_outlive_a_restart_and_agents_are_not_killed_with_the_daemon() -> None:
    service = unit()["serviceConfig"]
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] > 0


def test_what_a_driver_needs_is_not_taken_from_it() -> None:
    service = unit()["serviceConfig"]
    for broken in ("RestrictNamespaces", "ProtectHostname", "MemoryDenyWriteExecute", "ProtectKernelTunables"):
        assert broken not in service
    assert "/etc/nixos-containers" in service["ReadWritePaths"]
    assert "/var/lib/hyperhive" in service["ReadWritePaths"]
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] is True


def test_the_key_is_handed_over_by_systemd_and_may_not_lie_in_the_store() -> None:
    service = unit('anthropicApiKeyFile = "/run/keys/anthropic";')
    assert service["serviceConfig"]["LoadCredential"] == "anthropic-api-key:/run/keys/anthropic"
    assert service["environment"]["HIVE_ANTHROPIC_API_KEY_FILE"] == "%d/anthropic-api-key"
    with pytest.raises(Refused, match="in the Nix store, where everyone can read it"):
        host('anthropicApiKeyFile = builtins.toPath "${builtins.storeDir}/00000000000000000000000000000000-key";')


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
@pytest.mark.parametrize("options", ["", ALL], ids=["defaults", "everything"])
def test_systemd_understands_every_line_of_the_unit(options: str, tmp_path: Path) -> None:
    assert complaints(unit(options), tmp_path) == ""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("RuntimeDirectoryPreserve", "RuntimeDirectoryPreseve"),
        ('KillMode = "process"', 'KillMode = "proces"'),
        ("RestrictSUIDSGID", "RestrictSuidSgid"),
    ],
)
def test_systemd_finds_what_nix_takes_for_granted(right: str, wrong: str, tmp_path: Path) -> None:
    project = copy(tmp_path / "project")
    changed(project, "nix/module.nix", right, wrong)
    assert complaints(unit("", project), tmp_path)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_every_capability_that_is_dropped_is_one() -> None:
    dropped = unit()["serviceConfig"]["CapabilityBoundingSet"].removeprefix("~").split()
    known = subprocess.run(["systemd-analyze", "capability", *dropped], capture_output=True, text=True, timeout=60)
    assert len(dropped) > 10
    assert known.returncode == 0, known.stderr


def complaints(service: dict[str, Any], place: Path) -> str:
    """All that systemd says of it; an unknown key is no reason for it to exit with an error."""
    file = place / "hive-c0re.service"
    file.write_text(units.text(service, "/bin/true"))
    words = ["systemd-analyze", "verify", "--man=no", str(file)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60).stderr


# ---- from options to settings


def test_every_variable_of_the_unit_is_a_setting_and_every_setting_has_an_option() -> None:
    menu = set(re.findall(r'"(HIVE_[A-Z_]+)"', (PROJECT / "hyperhive/settings.py").read_text()))
    mine = {name for name in unit(ALL)["environment"] if name.startswith("HIVE_")}
    assert mine - menu == set()
    assert menu - mine - WITHOUT_OPTION == set()


def test_without_options_the_daemon_has_its_own_defaults() -> None:
    bare = settings(
        {"PATH": "/usr/bin:/bin", "HIVE_STATE_DIR": "/var/lib/hyperhive", "HIVE_RUNTIME_DIR": "/run/hyperhive"}
    )
    given = settings(unit()["environment"])
    different = {name for name in given if given[name] != bare[name]} - {"SECRET_KEY"}
    assert different == {"HIVE_DRIVER", "HIVE_FLAKE_URL", "HIVE_NIXPKGS_URL"}


def test_each_option_arrives_at_the_daemon() -> None:
    given = settings(unit(ALL)["environment"])
    assert given["HIVE_BIND"] == "[::]:7443"
    assert given["HIVE_MANAGER_PORT"] == ""
    assert given["HIVE_AGENT_PORTS"] == "9100-9199"
    assert given["ALLOWED_HOSTS"] == ["hive.example.org"]
    assert given["HIVE_STATE_DIR"] == "/srv/hive"
    assert given["HIVE_MESSAGE_RETENTION_DAYS"] == 45
    assert given["HIVE_APPROVAL_EXPIRY_DAYS"] == 3
    assert given["HIVE_EVENTS_BYTES"] == 8 << 20
    assert given["HIVE_DISK_RESERVE"] == 32 << 20
    assert given["HIVE_DRIVER"] == "bwrap"
    assert given["HIVE_TRUST_AGENTS"] is True
    assert given["HIVE_AUTO_UPDATE"] is False
    assert given["HIVE_CLAUDE"].endswith("/bin/claude")
    assert given["HIVE_AGENT_MEMORY_MAX"] == "2G"
    assert given["HIVE_AGENT_CPU_QUOTA"] == "50%"
    assert given["HIVE_AGENT_TASKS_MAX"] == 99
    assert given["HIVE_TURN_TIMEOUT"] == 60
    assert given["HIVE_MODEL"] == "opus"
    assert given["HIVE_URL"] == "https://hive.example.org"
    assert given["HIVE_NOTIFY"] == ["approval"]
    assert given["HIVE_NOTIFY_REMIND_HOURS"] == 4
    assert given["HIVE_NOTIFY_URL_FILE"] == "/run/keys/hook"
    assert given["HIVE_NTFY_URL_FILE"] == "/run/keys/ntfy"
    assert given["HIVE_NTFY_TOKEN_FILE"] == "/run/keys/ntfy-token"
    assert given["HIVE_METRICS_TOKEN_FILE"] == "/run/keys/metrics"
    assert given["HIVE_LOG_FORMAT"] == "json"
    assert given["HIVE_MODEL_URL"] == "https://models.example.org"
    assert unit(ALL)["serviceConfig"]["ExecStart"].endswith('"serve" "--stop-agents" "50%% off"')


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("prot = 7000;", "services.hive-c0re.prot' does not exist"),
        ('port = "7000";', "not of type"),
        ("port = 70000;", "not of type"),
        ("retentionDays = 0;", "not of type"),
        ('eventsMiB = "64M";', "not of type"),
        ('driver = "docker";', "not of type"),
        ('agents.limits.memoryMax = "lots";', "not of type"),
        ("agents.limits.memory = 1;", "services.hive-c0re.agents.limits.memory' does not exist"),
        ('stateDir = "here";', "not of type"),
        ("agentPorts.from = 9000;", "`from` is greater than `to`"),
        ('driver = "bwrap";', "claudePackage is needed with driver bwrap"),
    ],
)
def test_a_wrong_option_is_refused_for_its_own_reason(options: str, reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        host(options)
