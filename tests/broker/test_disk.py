"""A disk that fills and frees again: nothing that was said to be kept is lost, and acks go on all the time."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hives import PROJECT

# In a mount namespace of its own, where a plain user may mount a tmpfs too.
APART = ["unshare", "--mount"]


@pytest.mark.bwrap
def test_it_goes_on_through_a_full_disk(tmp_path: Path) -> None:
    as_root = [] if subprocess.run([*APART, "true"], capture_output=True).returncode == 0 else ["--map-root-user"]
    story = str(Path(__file__).with_name("full_disk.py"))
    command = [*APART, *as_root, sys.executable, "-W", "error", story, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
