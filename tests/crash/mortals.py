"""The asking end of tests/crash/mortal.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


class Mortals:
    """Processes over copies of hives, one after the other."""

    def __init__(self, place: Path):
        self.place = place
        command = [sys.executable, "-W", "error", "-m", "tests.crash.mortal"]
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("HIVE_", "DJANGO_"))}
        env = mine | {"HIVE_STATE_DIR": str(place / "none"), "HIVE_RUNTIME_DIR": str(place / "none")}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.parent = subprocess.Popen(command, cwd=PROJECT, env=env, **pipes)

    def run(self, hive: Path, act: str, **order: Any) -> tuple[int, Any]:
        """How the process ended, and what it said."""
        answer = self.ask(hive=str(hive), act=act, **order)
        return answer["ended"], answer["said"]

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.parent.stdin
        assert self.parent.stdout
        self.parent.stdin.write(json.dumps(order) + "\n")
        self.parent.stdin.flush()
        return json.loads(self.parent.stdout.readline())

    def begin(self, hive: Path, act: str, **order: Any) -> int:
        """Without waiting for its end: its process."""
        return self.ask(hive=str(hive), act=act, background=True, **order)["pid"]

    def ended(self, pid: int) -> int:
        """Wait for a process that was begun: how it ended."""
        return self.ask(ended=pid)["ended"]

    def kill(self, pid: int) -> None:
        os.kill(pid, SIGKILL)
        assert self.ended(pid) == -SIGKILL

    def does(self, hive: Path, act: str, **order: Any) -> Any:
        ended, said = self.run(hive, act, **order)
        assert ended == 0
        return said

    def killed(self, hive: Path, story: str, point: str) -> bool:
        """Whether it came to the point; when not, it has done all there was to do."""
        ended, _ = self.run(hive, "carry", story=story, crash_at=point)
        assert ended in (0, -SIGKILL)
        return ended == -SIGKILL

    def hive(self, story: str) -> Path:
        """A fresh one: approved, and not begun."""
        model = self.place / story
        if not model.exists():
            model.mkdir()
            self.does(model, "make", story=story)
        copy = self.place / "hive"
        shutil.rmtree(copy, ignore_errors=True)
        return shutil.copytree(model, copy)

    def close(self) -> None:
        assert self.parent.stdin
        assert self.parent.stdout
        self.parent.stdin.close()
        self.parent.stdout.close()
        self.parent.wait(30)
