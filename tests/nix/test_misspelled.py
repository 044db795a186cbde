"""A slip of a finger anywhere in our Nix is found here, on the stub, and not first on somebody's machine."""

import re
from pathlib import Path

import pytest

from .nix import Refused, changed, copy, evaluate

HOST = "host { services.hive-c0re = { enable = true; openFirewall = true; }; }"
AGENT = 'agent { config.packages = [ "jq" ]; } { hyperhive.env.A = "b"; }'
MANAGER = "manager { }"
PACKAGE = """
  let p = self.packages.${system}.default;
  in [ p.name p.script p.given.version p.python.libs (map (d: [ d.version d.src.name d.src.sha256 ]) p.modules.dependencies) ]
"""
SHELL = "self.devShells.${system}.default.packages"
CHECKS = "lib.mapAttrs (_: check: [ (check.script or null) (check.given or null) ]) self.checks.${system}"

# What is evaluated, where, what is right, what was typed, what Nix says of it.
SLIPS = [
    (HOST, "nix/module.nix", "boot.enableContainers", "boot.enableContainer", "enableContainer' does not exist"),
    (HOST, "nix/module.nix", "allowedTCPPorts =", "allowedTCPPort =", "allowedTCPPort' does not exist"),
    (HOST, "nix/module.nix", "wantedBy =", "wantdBy =", "wantdBy' does not exist"),
    (HOST, "nix/module.nix", "systemd.tmpfiles.rules", "systemd.tmpfile.rules", "systemd.tmpfile' does not exist"),
    (HOST, "nix/module.nix", "cfg.retentionDays", "cfg.retentionDay", "attribute 'retentionDay' missing"),
    (HOST, "nix/module.nix", "types.port 7000", "types.prot 7000", "attribute 'prot' missing"),
    (HOST, "nix/module.nix", "types.port 7000", 'types.port "7000"', "hive-c0re.port' is not of type"),
    (HOST, "nix/module.nix", "lib.optionals nixos [", "lib.optinals nixos [", "attribute 'optinals' missing"),
    (
        HOST,
        "nix/module.nix",
        "ReadWritePaths = writable",
        "ReadWritePaths = writeable",
        "undefined variable 'writeable'",
    ),
    (
        HOST,
        "nix/module.nix",
        "utils.escapeSystemdExecArgs",
        "utils.escapeSystemdArgs",
        "attribute 'escapeSystemdArgs' missing",
    ),
    (
        AGENT,
        "nix/agent.nix",
        "networking = {\n      hostName",
        "networking = {\n      hostname",
        "hostname' does not exist",
    ),
    (AGENT, "nix/agent.nix", "pkgs.ripgrep", "pkgs.ripgrp", "attribute 'ripgrp' missing"),
    (AGENT, "nix/agent.nix", "nixpkgs.config.", "nixpkgs.confg.", "nixpkgs.confg' does not exist"),
    (AGENT, "nix/agent.nix", "programs.git.enable", "programs.gti.enable", "programs.gti' does not exist"),
    (AGENT, "nix/agent.nix", "python.interpreter;", "python.interpretr;", "attribute 'interpretr' missing"),
    (AGENT, "nix/keys.nix", "memoryMax =", "memoryMx =", "attribute 'memoryMx' missing"),
    (AGENT, "nix/mk-agent.nix", "self.nixosModules.agent", "self.nixosModules.agnt", "attribute 'agnt' missing"),
    (
        AGENT,
        "nix/mk-agent.nix",
        "inherit (meta) name role;",
        "inherit (meta) nam role;",
        "hyperhive.agent.nam' does not exist",
    ),
    (MANAGER, "nix/manager.nix", "hive-harness.environment", "hive-harness.enviroment", "enviroment' does not exist"),
    (MANAGER, "nix/manager.nix", '== "manager"', '== "manger"', "manager.nix is for the manager alone"),
    (PACKAGE, "nix/package.nix", "  bubblewrap,", "  bubblewarp,", "undefined variable 'bubblewrap'"),
    (PACKAGE, "nix/package.nix", "locked.run", "locked.runs", "attribute 'runs' missing"),
    (PACKAGE, "nix/python.nix", "          abi\n", "          abis\n", "called without required argument 'abi'"),
    (PACKAGE, "nix/python.nix", "dist = file.python;", "", "called without required argument 'dist'"),
    (PACKAGE, "pyproject.toml", 'version = "', 'verson = "', "attribute 'version' missing"),
    (SHELL, "nix/shell.nix", "  catatonit,", "  catatonit,\n  catatonic,", "asks for `catatonic'"),
    (CHECKS, "nix/checks/default.nix", "../dev.nix", "../devs.nix", "devs.nix"),
    (CHECKS, "flake.nix", "./nix/checks", "./nix/check", "nix/check'"),
]


@pytest.mark.parametrize("expression", [HOST, AGENT, MANAGER, PACKAGE, SHELL, CHECKS])
def test_without_a_slip_it_evaluates(expression: str) -> None:
    assert evaluate(expression)


@pytest.mark.parametrize(
    ("expression", "file", "right", "wrong", "reason"),
    SLIPS,
    ids=[f"{slip[1]}-{number}" for number, slip in enumerate(SLIPS)],
)
def test_a_slip_is_found(expression: str, file: str, right: str, wrong: str, reason: str, tmp_path: Path) -> None:
    project = copy(tmp_path / "project")
    changed(project, file, right, wrong)
    with pytest.raises(Refused, match=re.escape(reason)):
        evaluate(expression, project)
