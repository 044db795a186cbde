"""The slim harness: memory when idle, seconds from exec to its first `recv`, and the shim.

The host is the tests' own. No container: the same process without its walls. Not measured yet: a turn over a bare claude.
usage: python tests/bench/bench_harness.py [RUNS]
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from tests.harness.hosts import FakeHost

PROJECT = Path(__file__).resolve().parents[2]
AGENT = {"schema": 1, "name": "scout", "role": "agent", "config": {}}


class Timed(FakeHost):
    """Notes when the harness asks for its first message."""

    first: float = 0.0

    async def _recv(self, **params: object) -> dict:
        self.first = self.first or time.monotonic()
        return await super()._recv(**params)  # type: ignore[arg-type]


async def harness(root: Path) -> tuple[float, float]:
    """(seconds from exec to the first recv, MiB resident after two idle seconds)."""
    for name in ("run", "journal", "state", "work", "tmp", "claude"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "agent.json").write_text(json.dumps(AGENT))
    # A claude that says its version at once: how long the real one takes to say it is not the harness's doing.
    claude = root / "claude-says"
    claude.write_text("#!/bin/sh\necho '2.1.330 (Claude Code)'\n")
    claude.chmod(0o755)
    host = Timed(root / "run")
    await host.back()
    env = {
        "PATH": os.environ["PATH"], "HOME": str(root), "DJANGO_SETTINGS_MODULE": "harness.settings",
        "HIVE_AGENT_FILE": str(root / "agent.json"), "HIVE_RUN": str(root / "run"), "HIVE_JOURNAL": str(root / "journal"),
        "HIVE_STATE": str(root / "state"), "HIVE_WORKSPACE": str(root / "work"), "TMPDIR": str(root / "tmp"),
        "CLAUDE_CONFIG_DIR": str(root / "claude"), "HIVE_CLAUDE": str(claude),
    }  # fmt: skip
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "django", "harness", env=env, cwd=root, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while not host.first:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        await asyncio.sleep(2)
        return host.first - begun, psutil.Process(process.pid).memory_info().rss / 2**20
    finally:
        process.terminate()
        await process.wait()
        await host.gone()


def shim(root: Path) -> float:
    """Seconds from exec until a line went through the shim to a socket and back, beyond nothing but the interpreter."""
    import socket
    import threading

    path = str(root / "relay.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()

    def echo() -> None:
        connection, _ = listening.accept()
        connection.sendall(connection.recv(100))
        connection.close()

    threading.Thread(target=echo, daemon=True).start()
    begun = time.monotonic()
    command = [sys.executable, "-I", "-S", str(PROJECT / "harness" / "shim.py"), path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        process.stdout.readline()
        took = time.monotonic() - begun
    listening.close()
    return took


def main(runs: int) -> None:
    starts, sizes, shims = [], [], []
    for _ in range(runs):
        root = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
        try:
            asyncio.run(harness(root))  # the first start makes the journal; the second is what a restart costs
            start, size = asyncio.run(harness(root))
            starts.append(start)
            sizes.append(size)
            shims.append(shim(root))
        finally:
            shutil.rmtree(root, ignore_errors=True)
    begun = time.monotonic()
    for _ in range(runs):
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    bare = (time.monotonic() - begun) / runs
    print(f"harness, idle: {statistics.median(sizes):.0f} MiB resident (target: at most 45)")
    start = statistics.median(starts)
    print(f"harness, exec to first recv: {start:.2f} s (target: at most 0.4); {start / bare:.0f} times a bare Python")
    took = statistics.median(shims)
    print(
        f"shim: {took * 1000:.0f} ms from exec to an answer (target: at most 20); {took / bare:.1f} times a bare Python"
    )


if __name__ == "__main__":
    main(int((sys.argv + ["5"])[1]))
