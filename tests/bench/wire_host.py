"""The same wire with nothing behind it: lists in memory, nothing kept or checked. What no database could be faster than.

usage: python tests/bench/wire_host.py DIR NAME …
"""

import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "hyperhive.settings"

from broker import wire
from broker.later import Later


class Boxes:
    """Mailboxes by name, and who waits at one."""

    def __init__(self) -> None:
        self.messages: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.waiting: dict[str, Later] = {}

    def verb(self, name: str) -> wire.Verb:
        def answer(_: wire.Peer, method: str, params: dict[str, Any]) -> Later:
            answered = Later(asyncio.get_running_loop())
            if method == "recv" and not self.messages[name]:
                self.waiting[name] = answered
                return answered
            if method == "send":
                self.messages[params["to"]].append(params)
                if reader := self.waiting.pop(params["to"], None):
                    reader.set_result({"messages": [self.messages[params["to"]].pop(0)]})
            answered.set_result({"messages": [self.messages[name].pop(0)]} if method == "recv" else {})
            return answered

        return answer


async def serve(root: Path, names: list[str]) -> None:
    boxes = Boxes()
    servers = [await wire.listen(root / name, boxes.verb(name)) for name in names]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2:]))
