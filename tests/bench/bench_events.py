"""A turn that streams 200 MiB through a real harness to a real daemon: what becomes of it, and what it does to their memory.

Claude is a script that prints as much as it is told to; the driver is `process`.
usage: python tests/bench/bench_events.py [MIB]
"""

import gzip
import json
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents import cli
from tests.hives import Hive, until

AGENT = "hm1nd"
# 20 kB a line; the longest that claude was seen to print have 164.
LINE = 20_000
MIB = 1 << 20
CLAUDE = """#!{python}
import json, sys
if "--print" not in sys.argv:
    print("{version} (Claude Code)")
    sys.exit()
hive = dict(mcp_servers=[dict(name="hive", status="connected")], tools=["mcp__hive__send"])
print(json.dumps(dict(type="system", subtype="init", session_id="s", model="m", **hive)))
for number in range({count}):
    print(json.dumps(dict(type="user", number=number, text="x" * {length})))
print(json.dumps(dict(type="result", is_error=False)), flush=True)
sys.stdin.read()
"""


class Memory:
    """MiB of a process: resident when it was first looked at, and the most since then (proc(5): clear_refs, VmHWM)."""

    def __init__(self, pid: int):
        self.proc = Path(f"/proc/{pid}")
        (self.proc / "clear_refs").write_text("5")
        self.before = self.most = self.peak()

    def look(self) -> None:
        self.most = self.peak()

    def peak(self) -> float:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", (self.proc / "status").read_text())[0]) / 1024


class Row(NamedTuple):
    seq: int
    kind: str
    number: int | None  # of claude's line


class Streamed(NamedTuple):
    seconds: float  # from the message that woke the agent until the host had all
    outcome: str
    lines: int  # that claude printed
    gap: dict  # the payload of the row that stands for what is in files
    kept: list[Row]
    filed: list[Row]
    files: dict[str, float]  # name -> MiB
    harness: Memory
    daemon: Memory

    def whole(self) -> bool:
        """Whether each event is in a file or is a row, once and in order, and one row says how many are in files."""
        rows = [*self.filed, *self.kept]
        numbers = [row.number for row in rows if row.kind == "user"]
        in_order = [row.seq for row in rows] == list(range(1, len(rows) + 1)) and numbers == list(range(self.lines))
        return in_order and self.gap["moved"] == len(self.filed) and self.gap["file"] in self.files


def streamed(mib: float, budget: float) -> Streamed:
    """That much in one turn, of which the host keeps so much: MiB."""
    hive, count = Hive(driver="process", HIVE_EVENTS_BYTES=str(int(budget * MIB))), int(mib * MIB / LINE)
    claude = hive.root / "claude"
    claude.write_text(CLAUDE.format(python=sys.executable, version=cli.WANTED, count=count, length=LINE))
    claude.chmod(0o755)
    hive.env["HIVE_CLAUDE"] = str(claude)
    try:
        hive.start()
        pid = hive.idle(AGENT)["pid"]
        assert hive.daemon
        harness, daemon, begun = Memory(pid), Memory(hive.daemon.pid), time.monotonic()
        sent = hive.ask("send", to=AGENT, body="go")
        hive.delivered(sent["id"], 600)
        # Its last event says that it is idle again.
        hive.idle(AGENT)
        took = time.monotonic() - begun
        database = sqlite3.connect(f"file:{hive.state}/hive.sqlite3?mode=ro", uri=True)
        until(lambda: size(database) <= budget * MIB, "what is over the budget is in files", 60)
        harness.look(), daemon.look()
        [gap], kept = rows(database)
        database.close()
        files = sorted((hive.state / "run" / AGENT / "events").iterdir())
        sizes = {file.name: file.stat().st_size / MIB for file in files}
        [turn] = hive.ask("turns", name=AGENT)["turns"]
        return Streamed(took, turn["outcome"], count, gap, kept, [*filed(files)], sizes, harness, daemon)
    finally:
        hive.close()


def size(database: sqlite3.Connection) -> int:
    return database.execute("SELECT bytes FROM agents_agent WHERE name = ?", (AGENT,)).fetchone()[0]


def rows(database: sqlite3.Connection) -> tuple[list[dict], list[Row]]:
    """The gaps' payloads, and every other event."""
    gaps = database.execute("SELECT payload FROM agents_event WHERE kind = 'gap'").fetchall()
    statement = "SELECT seq, kind, payload ->> 'number' FROM agents_event WHERE kind <> 'gap' ORDER BY seq"
    return [json.loads(gap) for (gap,) in gaps], [Row(*row) for row in database.execute(statement)]


def filed(files: list[Path]) -> Iterator[Row]:
    for file in files:
        with gzip.open(file) as lines:
            for event in map(json.loads, lines):
                yield Row(event["seq"], event["kind"], event["payload"].get("number"))


def main(mib: float) -> None:
    budget = min(64, mib / 4)
    seen = streamed(mib, budget)
    print(
        f"{mib:g} MiB in {seen.lines} events: {seen.seconds:.0f} s, {mib / seen.seconds:.1f} MiB/s; the turn: {seen.outcome}"
    )
    all_ = "each once and in order" if seen.whole() else "NOT ALL OF THEM"
    stored = ", ".join(f"{name} {mib:.1f} MiB" for name, mib in seen.files.items())
    print(
        f"{len(seen.filed)} of {len(seen.filed) + len(seen.kept)} events are in files, {all_}: {stored}; budget {budget:g} MiB"
    )
    for name, memory in (("harness", seen.harness), ("daemon", seen.daemon)):
        print(
            f"{name}: {memory.before:.0f} MiB before, {memory.most:.0f} MiB at most: {memory.most / memory.before:.2f} times"
        )
    sys.exit(not seen.whole() or seen.outcome != "ok")


if __name__ == "__main__":
    main(float((sys.argv + ["200"])[1]))
