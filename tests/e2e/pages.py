"""The server of the pages, as a process that a test writes rows in."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Pages:
    """The server process; `pages("send", sender=…)` writes a row in it, so that its wake-ups are real."""

    def __init__(self, state: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.bind = f"127.0.0.1:{probe.getsockname()[1]}"
        self.state, self.url = state, f"http://{self.bind}"
        (state / "secret_key").write_text("the same after a restart")
        self.start()

    def start(self) -> None:
        env = os.environ | {"HIVE_STATE_DIR": str(self.state), "HIVE_BIND": self.bind, "PYTHONPATH": str(ROOT)}
        with (self.state / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.server"],
                cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._answer() == "ready"

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, (self.state / "log").read_text()
        return json.loads(line)

    def __call__(self, verb: str, **params):
        self.process.stdin.write(json.dumps([verb, params]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
