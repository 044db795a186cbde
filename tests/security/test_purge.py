"""Purging what an agent shaped while the agent goes on shaping it: whatever it swaps in, the victim stays whole."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lifecycle import safe_fs
from tests.hives import until

# Swaps one directory of the tree for a link to the victim and back, as fast as it goes.
SWAPPER = textwrap.dedent("""
    import os, sys
    place, victim = sys.argv[1:]
    os.symlink(victim, place + ".link")
    print("going", flush=True)
    while True:
        away, link = place + ".away", place + ".link"
        for one, other in ((place, away), (link, place), (place, link), (away, place)):
            try:
                os.rename(one, other)
            except OSError:
                pass
""")
# Purges until it is killed.
PURGER = "import sys; from pathlib import Path; from lifecycle import safe_fs; safe_fs.purge(Path(sys.argv[1]))"
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def victim(tmp_path):
    victim = tmp_path / "victim"
    (victim / "sub").mkdir(parents=True)
    for place in (victim, victim / "sub"):
        for number in range(20):
            (place / f"precious-{number}").write_text("all of it")
    facts = [(path, path.stat().st_mode, path.stat().st_uid) for path in sorted(victim.rglob("*"))]
    yield victim
    assert [(path, path.stat().st_mode, path.stat().st_uid) for path in sorted(victim.rglob("*"))] == facts


def tree(root: Path, width: int = 8) -> Path:
    for number in range(width):
        (root / f"d{number}" / "inner").mkdir(parents=True)
        for name in range(10):
            (root / f"d{number}" / "inner" / f"f{name}").write_text("x")
    return root


@pytest.mark.parametrize("where", ["d0", "d4/inner", "d7"])
def test_twenty_swaps_of_a_directory_for_a_link_leave_the_victim_whole(tmp_path, victim, where):
    for turn in range(20):
        root = tree(tmp_path / "agents" / f"scout{turn}")
        argv = [sys.executable, "-I", "-c", SWAPPER, root / where, victim]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as swapper:
            swapper.stdout.readline()
            # What is moved about meanwhile may be missed by one round: a purge is begun again until nothing is left.
            for _ in range(50):
                with contextlib.suppress(OSError):
                    safe_fs.purge(root)
                if not os.listdir(root.parent):
                    break
            swapper.kill()
        with contextlib.suppress(FileNotFoundError):
            safe_fs.purge(root)
        assert not root.exists()


def test_a_purge_that_is_killed_in_the_middle_is_finished_by_the_next(tmp_path, victim):
    for turn in range(5):
        root = tree(tmp_path / "agents" / f"scout{turn}", width=400)
        (root / "out").symlink_to(victim)
        before = sum(1 for _ in root.rglob("*"))
        env = os.environ | {"PYTHONPATH": str(PROJECT)}
        with subprocess.Popen([sys.executable, "-c", PURGER, root], cwd="/", env=env) as purger:
            until(lambda here=root: not here.exists(), "it is moved aside")
            purger.send_signal(signal.SIGKILL)
        assert 0 < sum(1 for _ in root.parent.rglob("*")) <= before + 1
        assert safe_fs.purge(root)
        assert os.listdir(root.parent) == []
