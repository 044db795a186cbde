import subprocess
from pathlib import Path

import pytest

from .nix import PROJECT

FILES = sorted([PROJECT / "flake.nix", *(PROJECT / "nix").rglob("*.nix"), *(PROJECT / "tests").rglob("*.nix")])


def parsed(*files: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["nix-instantiate", "--parse", *files], capture_output=True, text=True, timeout=60)


def test_every_nix_file_parses() -> None:
    assert len(FILES) > 15
    done = parsed(*FILES)
    assert done.returncode == 0, done.stderr


def test_a_file_that_does_not_parse_is_found(tmp_path: Path) -> None:
    (tmp_path / "bad.nix").write_text("{ pkgs, ... }: { x = [ pkgs.git }")
    assert parsed(*FILES, tmp_path / "bad.nix").returncode


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_a_file_begins_with_what_it_is_for_and_keeps_to_the_width(file: Path) -> None:
    text = file.read_text()
    assert text.startswith(("#", "{\n  description"))
    assert not [line for line in text.splitlines() if "\t" in line or line != line.rstrip() or len(line) > 130]
