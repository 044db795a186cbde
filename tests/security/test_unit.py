"""The unit for hosts that are not NixOS: systemd understands every line of it, and it is as hard as SECURITY.md says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hives import PROJECT

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
UNIT = PROJECT / "docs/systemd/hyperhive.service"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """With this checkout in the place of /opt/hyperhive: systemd looks for what is to be started."""
    text = UNIT.read_text()
    assert "/opt/hyperhive/.venv/bin/hive serve" in text
    place = tmp_path / UNIT.name
    place.write_text(text.replace("/opt/hyperhive", str(PROJECT)))
    return place


def analyzed(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, timeout=60)


def test_systemd_has_nothing_to_say_about_it(unit: Path) -> None:
    done = analyzed("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("KillMode=process", "KillMode=proces"), ("ProtectClock=", "ProtectClok="), ("@debug", "@debugg")],
)
def test_systemd_would_say_so_if_a_line_were_misspelt(unit: Path, right: str, wrong: str) -> None:
    assert right in unit.read_text()
    unit.write_text(unit.read_text().replace(right, wrong))
    assert analyzed("verify", "--man=no", str(unit)).stderr


def exposure(unit: Path) -> float:
    found = re.search(
        r"Overall exposure level for \S+: ([0-9.]+)", analyzed("security", "--offline=yes", str(unit)).stdout
    )
    assert found
    return float(found[1])


def test_its_exposure_is_no_worse_than_security_md_says(unit: Path) -> None:
    said = re.search(r"an exposure of ([0-9.]+) ", (PROJECT / "SECURITY.md").read_text())
    assert said
    assert exposure(unit) <= float(said[1])
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes\n", "").replace("ProtectSystem=strict\n", ""))
    assert exposure(unit) > float(said[1])


def test_whatever_the_module_of_nixos_forbids_it_forbids_too() -> None:
    module = (PROJECT / "nix/module.nix").read_text()
    there = module.partition("hardening = {")[2].partition("\n  };")[0]
    here = UNIT.read_text()
    assert set(re.findall(r'"(CAP_\w+)"', there)) == set(
        re.findall(r"CAP_\w+", here.partition("CapabilityBoundingSet")[2])
    )
    for key in re.findall(r"^    (\w+) =", there, re.MULTILINE):
        assert f"\n{key}=" in here, key
