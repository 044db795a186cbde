"""In a process of its own: it adopts orphans and kills all that is below it."""

import subprocess
import sys
from pathlib import Path

from .conftest import PROJECT

SWEEP = """
import asyncio, os, subprocess, sys, time
from harness import leftovers
leftovers.adopt()
# A daemon: forked twice, in a session of its own, with an empty environment.
subprocess.run(["setsid", "-f", "env", "-i", "/bin/sleep", "300"], check=True)
child = subprocess.Popen(["/bin/sh", "-c", "/bin/sleep 301 & /bin/sleep 302"])
time.sleep(0.3)
killed = asyncio.run(leftovers.sweep("nobody"))
print(killed, len(leftovers._left("nobody")))
child.returncode = 0
"""

MARKED = """
import asyncio
from harness import leftovers
print(asyncio.run(leftovers.sweep("a-mark-of-this-test")))
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def test_whatever_a_turn_started_is_ended_and_reaped() -> None:
    assert python(SWEEP).split() == ["4", "0"]


def test_what_an_earlier_harness_left_is_known_by_its_mark() -> None:
    left = subprocess.Popen(["/bin/sleep", "300"], env={"HIVE_JOURNAL_OF": "a-mark-of-this-test"})
    assert python(MARKED).strip() == "1"
    assert left.wait() == -9


def test_a_name_with_brackets_and_spaces_is_read_right(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    left = subprocess.Popen([odd, "300"], env={"HIVE_JOURNAL_OF": "a-mark-of-this-test"})
    assert python(MARKED).strip() == "1"
    assert left.wait() == -9
