"""What a turn costs over a bare `claude -p`: the real CLI, a scripted model, the same prompt and the same flags by turns.

bare: claude as the harness starts it, exec to exit, its tools straight from the daemon's socket, no harness.
turn: from the moment a message is stored until it is delivered, by the daemon's own rows.
usage: python tests/bench/bench_turn.py [TURNS [DRIVER]]: `process` shows the harness alone, any other what its walls cost besides
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents import cli
from harness import invocation, words
from harness.config import Config
from hyperhive.demo.model import Rule, ScriptedModel
from tests.hives import PROJECT, Hive

AGENT, BODY, TARGET = "scout", "Say that you are done.", 0.060
CLAUDE = PROJECT / ".tools" / f"claude-{cli.WANTED}" / "claude"

# Seconds that no turn is faster than.
MEANWHILE = 0.4


class Bare:
    """The harness's command without the harness; `tools` is the socket of the hive's MCP server, or nothing."""

    def __init__(self, hive: Hive, model: ScriptedModel, tools: Path | None):
        self.root, self.port, self.session = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp")), model.port, ""
        for name in ("work", "tmp", "claude", "files"):
            (self.root / name).mkdir()
        self.config = Config.read(
            {
                "HIVE_AGENT_FILE": str(hive.state / "applied" / AGENT / "agent.json"),
                "HIVE_CLAUDE": str(CLAUDE.resolve()), "PATH": os.environ["PATH"], "HOME": str(self.root),
                "TMPDIR": str(self.root / "tmp"), "CLAUDE_CONFIG_DIR": str(self.root / "claude"),
                "HIVE_STATE": str(self.root), "HIVE_WORKSPACE": str(self.root / "work"),
            }
        )  # fmt: skip
        invocation.write_files(self.root / "files", self.config, words.role(self.config), tools or Path())
        if not tools:
            (self.root / "files" / "mcp.json").write_text('{"mcpServers": {}}')

    def run(self, message: dict) -> float:
        """Seconds from exec to exit."""
        session = ["--resume", self.session] if self.session else []
        binary = invocation.Binary(cli.WANTED, has_snapshot=True)
        command = invocation.argv(self.config, binary, self.root / "files", session)
        env = invocation.environment(self.config, self.port)
        prompt = {"type": "user", "message": {"role": "user", "content": words.wake([message])}}
        begun = time.perf_counter()
        with subprocess.Popen(
            command, env=env, cwd=self.root / "work", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as claude:
            assert claude.stdin
            assert claude.stdout
            claude.stdin.write(json.dumps(prompt) + "\n")
            claude.stdin.flush()
            for text in claude.stdout:
                line = json.loads(text)
                if line["type"] == "result":
                    assert not line["is_error"], line
                    self.session = line["session_id"]
                    claude.stdin.close()
        return time.perf_counter() - begun

    def discard(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def turn(hive: Hive) -> tuple[float, dict]:
    """Seconds from the message's storing to its delivery, and the message."""
    sent = hive.ask("send", to=AGENT, body=BODY)
    # Asking the daemon again and again how far it is would be part of what is measured.
    time.sleep(MEANWHILE)
    message = hive.delivered(sent["id"])
    stored, delivered = (datetime.fromisoformat(message[name]) for name in ("created_at", "delivered_at"))
    return (delivered - stored).total_seconds(), message


def measure(hive: Hive, model: ScriptedModel, turns: int) -> dict[str, list[float]]:
    """Seconds by name, the ways alternating."""
    hive.ask("spawn", name=AGENT)
    hive.idle(AGENT)
    _, message = turn(hive)
    message |= {"sender_role": "operator"}
    bare = {
        "with tools": Bare(hive, model, hive.runtime / "agents" / AGENT / "mcp.sock"),
        "no tools": Bare(hive, model, None),
    }
    try:
        found: dict[str, list[float]] = {name: [] for name in ("turn", *bare)}
        for number in range(turns + 1):
            took = {name: one.run(message) for name, one in bare.items()} | {"turn": turn(hive)[0]}
            # The first of each makes what the later ones find: caches, a session.
            for name in took if number else ():
                found[name].append(took[name])
            print(", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items()), flush=True)
        return found
    finally:
        for one in bare.values():
            one.discard()


def beyond(these: list[float], those: list[float]) -> float:
    """Seconds: the median difference within a round, since a machine that slows down slows both."""
    return statistics.median(this - that for this, that in zip(these, those, strict=True))


def main(turns: int, driver: str) -> None:
    with ScriptedModel([Rule(reply="done")]) as model:
        hive = Hive(model.url, driver)
        hive.start()
        try:
            found = measure(hive, model, turns)
        finally:
            hive.close()
    whole, bare = (statistics.median(found[name]) for name in ("turn", "with tools"))
    over, tools = beyond(found["turn"], found["with tools"]), beyond(found["with tools"], found["no tools"])
    print(f"a turn ({driver}), message stored to delivered: {whole * 1000:.0f} ms, median of {turns}")
    print(f"the same claude -p alone, its tools from the same daemon: {bare * 1000:.0f} ms")
    print(
        f"overhead: {over * 1000:.0f} ms (target: at most {TARGET * 1000:.0f}); {whole / bare:.2f} times the bare one"
    )
    print(f"claude takes {tools * 1000:.0f} ms of the latter to connect its tools, whoever starts it")


if __name__ == "__main__":
    main(int((sys.argv[1:] + ["10"])[0]), (sys.argv[2:] + ["process"])[0])
