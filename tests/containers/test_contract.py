"""The fake nixos-container is held to a transcript that was taken of the real one; there, the same story is told to it.

HIVE_REAL_NIXOS_CONTAINER=path tells the story to a real script, in a sandbox. HIVE_RECORD=1 writes the transcript anew.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from .story import STEPS, in_sandbox, told
from .world import FAKE, World

GOLDEN = Path(__file__).with_name("transcript.jsonl")
REAL = os.environ.get("HIVE_REAL_NIXOS_CONTAINER", "")


def transcript(place: Path, fake: Path = FAKE, most: int | None = None) -> list[str]:
    world = World(place, fake=fake)
    try:
        return told(world, [str(world.bin / "nixos-container")], most)
    finally:
        world.close()


def recorded() -> list[dict]:
    return [json.loads(line) for line in GOLDEN.read_text().splitlines()]


def test_the_fake_does_what_the_real_one_did(tmp_path):
    lines = transcript(tmp_path / "world")
    if os.environ.get("HIVE_RECORD"):
        GOLDEN.write_text("\n".join(lines) + "\n")
    assert [json.loads(line) for line in lines] == recorded()


@pytest.mark.skipif(not REAL, reason="HIVE_REAL_NIXOS_CONTAINER names no real nixos-container")
def test_the_real_one_does_what_was_recorded(tmp_path):
    world = World(tmp_path / "world", root="")
    (world.place / "cwd").mkdir()
    try:
        lines = told(world, in_sandbox(world, Path(REAL)))
    finally:
        world.close()
    for line, before in zip(map(json.loads, lines), recorded(), strict=True):
        assert line == before


# What a fake that is a little wrong would do: none of it may go unseen.
MUTANTS = {
    "a name of 12": ("LONGEST = 11", "LONGEST = 12"),
    "a failed build cleans up": ('must(done, f"failed to build', 'done or self._remove()\n        must(done, f"failed to build'),
    "the attribute is kept": ('self.flake, self.attr = found.groups()', "pass"),
    "destroy of nothing fails": ('"destroy": (0, "")', '"destroy": (2, "")'),
}  # fmt: skip


@pytest.mark.parametrize("which", MUTANTS)
def test_a_fake_that_is_a_little_wrong_is_noticed(tmp_path, which):
    right, wrong = MUTANTS[which]
    source = FAKE.read_text()
    assert right in source
    mutant = tmp_path / "mutant.py"
    mutant.write_text(source.replace(right, wrong))
    lines = transcript(tmp_path / "world", mutant, most=24)
    assert [json.loads(line) for line in lines] != recorded()[: len(lines)]


def test_the_transcript_has_the_facts_that_the_driver_is_built_on():
    """Each of them decided something in lifecycle/drivers/nixos.py."""
    by_step: dict[str, list[dict]] = {}
    for line in recorded():
        by_step.setdefault(" ".join(line["step"]), []).append(line)
    assert len(recorded()) == sum(isinstance(step, tuple) for step in STEPS)
    # A failed build in create leaves the .conf behind, and the next create says that it exists.
    failed, again = by_step["create h-b --flake path:/x/b#other"]
    assert not failed["ok"]
    assert "etc/nixos-containers/h-b.conf" in failed["files"]
    assert (again["ok"], again["calls"]) == (False, [])
    # The attribute is not written down: an update without it builds another.
    assert "FLAKE=path:/x/b\n" in failed["files"]["etc/nixos-containers/h-b.conf"]
    assert by_step["update h-b"][0]["calls"][0][-1].endswith(
        '#nixosConfigurations."container".config.system.build.toplevel'
    )
    # A reload that fails leaves the profile on the new generation, and nothing is rolled back.
    before, after = by_step["update h-a --flake path:/x/a2"][0], by_step["update h-a --flake path:/x/a3"][0]
    profile = "nix/var/nix/profiles/per-container/h-a/system"
    assert (before["ok"], after["ok"]) == (True, False)
    assert after["files"][profile] != before["files"][profile]
    # destroy of an absent one is content; a stop of a stopped one, too.
    assert by_step["destroy h-a"][0]["ok"]
    assert [line["ok"] for line in by_step["stop h-a"]] == [True, True]
    # Every container gets addresses; a name has at most 11 characters; options reach nix.
    assert "HOST_ADDRESS=10.233.1.1" in before["files"]["etc/nixos-containers/h-a.conf"]
    assert not by_step["create h-abcdefghij"][0]["ok"]
    features = by_step["create h-y --flake path:/s/y --option extra-experimental-features nix-command flakes"][0]
    assert features["calls"][0][4:7] == ["--option", "extra-experimental-features", "nix-command flakes"]
    # The link is left behind.
    assert features["left"].startswith("/nix/store/")


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
def test_the_sandbox_for_the_real_one_runs_our_fake_to_the_same_end(tmp_path):
    """So that a real script that differs is the script's doing, not the sandbox's."""
    world = World(tmp_path / "world", root="")
    (world.place / "cwd").mkdir()
    try:
        lines = told(world, in_sandbox(world, world.bin / "nixos-container"), most=24)
    finally:
        world.close()
    assert [json.loads(line) for line in lines] == recorded()[: len(lines)]
