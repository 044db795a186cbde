"""The same as real flakes: locked, pure, in a store of the test's own, without a network."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle import flakes
from lifecycle.config import AgentConfig
from lifecycle.drivers.spec import Spec

from .nix import ALONE, FLAKES, PROJECT, REAL, Refused, copy, said

CONTAINER = "nixosConfigurations.container.config"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout, a nixpkgs, and a store that ends with the tests."""
    place = tmp_path_factory.mktemp("flakes")
    copy(place / "hyperhive")
    yield place
    for path in (place / "store").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


@pytest.fixture
def nix(place: Path) -> Callable[..., str]:
    def run(*words: str) -> str:
        return said(("nix", *FLAKES, *ALONE, "--store", str(place / "store"), *words))

    return run


@pytest.fixture
def agent(place: Path, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes the flake that the driver writes for an agent with this agent.nix; its reference."""
    settings.HIVE_FLAKE_URL = f"path:{place}/hyperhive"
    settings.HIVE_NIXPKGS_URL = f"path:{REAL or place / 'hyperhive/nix/stub'}"
    settings.HIVE_STATE_DIR = tmp_path / "state"
    monkeypatch.setattr(flakes, "STATE_VERSION", "25.11")

    def write(text: str) -> str:
        return f"path:{flakes.write(Spec('iris', 'agent', 1_900_000_000, 'hm1nd', AgentConfig(model='opus'), source=text))}"

    return write


def test_an_agents_generated_flake_evaluates_and_is_locked_by_content(
    agent: Callable[[str], str], nix: Callable[..., str]
) -> None:
    flake = agent('{ pkgs, ... }:\n{\n  hyperhive.egress = [ "docs.example.org" ];\n}\n')
    text = nix("eval", "--raw", f'{flake}#{CONTAINER}.environment.etc."hyperhive/agent.json".text')
    config = json.loads(text)["config"]
    assert (config["model"], config["egress"]) == ("opus", ["docs.example.org"])
    lock = json.loads((Path(flake.removeprefix("path:")) / "flake.lock").read_text())
    assert lock["nodes"]["hyperhive"]["locked"]["narHash"].startswith("sha256-")
    assert lock["nodes"]["nixpkgs"]["locked"]["narHash"].startswith("sha256-")


@pytest.mark.skipif(bool(REAL), reason="a whole NixOS would be built")
def test_its_system_is_built_and_carries_the_settings(
    agent: Callable[[str], str], nix: Callable[..., str], place: Path
) -> None:
    # --print-out-paths, which the driver uses, is newer than Debian's nix.
    path = json.loads(nix("build", "--no-link", "--json", f"{agent('')}#{flakes.ATTR}"))[0]["outputs"]["out"]
    assert re.fullmatch(r"/nix/store/[0-9a-z]{32}-nixos-system-h-iris-25\.11", path)
    written = json.loads((Path(f"{place}/store{path}") / "etc/hyperhive/agent.json").read_text())
    assert AgentConfig.read({key: written["config"][key] for key in ("model", "tools", "egress")}).model == "opus"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{ environment.etc.x.text = builtins.readFile "/etc/shadow"; }', "pure eval"),
        ("{ imports = [ ../../../../../../../../etc/passwd ]; }", "pure eval|is not allowed|access to"),
        ('{ environment.etc.x.text = builtins.getEnv "HOME" + toString builtins.currentTime; }', "currentTime"),
        ("{ imports = [ <nixpkgs/nixos> ]; }", "pure eval|was not found"),
        ('{ imports = [ (builtins.fetchTarball "http://127.0.0.1:9/x") ]; }', "sha256|hash"),
        ("{ hyperhive.modle = 1; }", "hyperhive.modle' does not exist"),
    ],
)
def test_what_reaches_out_of_the_flake_is_refused(
    text: str, reason: str, agent: Callable[[str], str], nix: Callable[..., str]
) -> None:
    with pytest.raises(Refused, match=reason):
        nix("eval", "--raw", f"{agent(text)}#{CONTAINER}.system.build.toplevel.drvPath")


@pytest.mark.parametrize("page", ["docs/nixos.md", "README.md"])
def test_the_hosts_flake_in_the_docs_evaluates(page: str, place: Path, tmp_path: Path, nix: Callable[..., str]) -> None:
    text = host_flake(page)
    for name, here in (("nixpkgs", REAL or place / "hyperhive/nix/stub"), ("hyperhive", place / "hyperhive")):
        text, count = re.subn(rf'(inputs\.{name}\.url = ")[^"]+', rf"\1path:{here}", text)
        assert count == 1, f"{page} names no {name}"
    (tmp_path / "flake.nix").write_text(text)
    (tmp_path / "configuration.nix").write_text((PROJECT / "nix/checks/machine.nix").read_text())
    unit = "nixosConfigurations.hive.config.systemd.services.hive-c0re"
    environment = json.loads(nix("eval", "--json", f"path:{tmp_path}#{unit}.environment"))
    # A store path: what it is built from later on cannot change under it.
    assert re.fullmatch(r"path:/nix/store/[0-9a-z]{32}-source", environment["HIVE_FLAKE_URL"])
    assert re.fullmatch(r"path:/nix/store/[0-9a-z]{32}-source(/nix/stub)?", environment["HIVE_NIXPKGS_URL"])


def host_flake(page: str) -> str:
    """The one block of Nix that is a whole flake."""
    blocks = re.findall(r"```nix\n(.*?)```", (PROJECT / page).read_text(), re.DOTALL)
    [found] = [block for block in blocks if "nixosConfigurations" in block]
    return found


def test_the_agent_of_the_docs_evaluates(agent: Callable[[str], str], nix: Callable[..., str]) -> None:
    blocks = re.findall(r"```nix\n(.*?)```", (PROJECT / "docs/nixos.md").read_text(), re.DOTALL)
    [text] = [block for block in blocks if "hyperhive.egress" in block]
    config = json.loads(nix("eval", "--raw", f'{agent(text)}#{CONTAINER}.environment.etc."hyperhive/agent.json".text'))
    assert config["config"]["packages"] == ["nodejs"]
