"""A turn that streams 200 MiB: what the harness's memory does, and whether the host has every event in the end.

A script prints the stream as claude would; the harness's own code reads, journals and replays it to the real verbs.
usage: python tests/bench/bench_events.py [MIB]
"""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# 20 kB a line; the longest that claude was seen to print have 164.
LINE = 20_000
STREAM = """
import json
for number in range({count}):
    print(json.dumps({{"type": "user", "number": number, "text": "x" * {length}}}))
print(json.dumps({{"type": "result", "is_error": False}}))
"""


async def stream(root: Path, count: int) -> tuple[int, int]:
    """Events that were written, and that the host has."""
    from broker.writer import Writer
    from harness.claude import Run
    from harness.host import Host
    from harness.journal import Journal

    host, writer = Host(root / "scout"), Writer()
    writer.start()
    journal = Journal("scout", writer)
    await journal.greet(host)
    replaying = asyncio.create_task(journal.replay(host))

    async def hear(kind: str, line: dict) -> None:
        await journal.append(kind, line, "turn-00000001")

    script = STREAM.format(count=count, length=LINE)
    await Run(hear).go([sys.executable, "-c", script], dict(os.environ), root, "go")
    until = time.monotonic() + 300
    while journal.heard < count + 1 and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    replaying.cancel()
    await host.close()
    await asyncio.to_thread(writer.stop)
    return count + 1, journal.heard


def resident() -> float:
    """MiB of this process at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(mib: int) -> None:
    root = Path(tempfile.mkdtemp(prefix="bench-", dir="/var/tmp"))
    os.environ |= {"HIVE_JOURNAL": str(root / "journal"), "DJANGO_SETTINGS_MODULE": "harness.settings"}
    (root / "journal").mkdir()
    host = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "mailbox_host.py"), str(root), "scout"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
    )  # fmt: skip
    try:
        assert host.stdout
        assert host.stdin
        host.stdout.readline()
        import django

        django.setup()
        from harness.disk import open_journal

        open_journal()
        before, begun = resident(), time.monotonic()
        written, heard = asyncio.run(stream(root, mib * 1024 * 1024 // LINE))
        took = time.monotonic() - begun
        print(f"{mib} MiB in {written} events: {took:.0f} s, {mib / took:.1f} MiB/s; the host has {heard} of {written}")
        kept = (root / "journal" / "journal.sqlite3").stat().st_size / 2**20
        print(f"harness: {before:.0f} MiB before, {resident():.0f} MiB at most; its journal has {kept:.0f} MiB on disk")
        host.stdin.close()
        host.wait(30)
    finally:
        host.kill()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main(int((sys.argv + ["200"])[1]))
