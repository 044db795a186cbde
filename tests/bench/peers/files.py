"""A mailbox as many tools have it: one JSON file for each agent, a lock beside it, and a look every 5 ms."""

import asyncio
import fcntl
import json
import os
from pathlib import Path

POLL = 0.005


class Files:
    def __init__(self, root: Path, names: list[str]):
        self.root = root

    async def open(self, name: str) -> "FilesBox":
        return FilesBox(self.root, name)

    def close(self) -> None:
        pass


class FilesBox:
    def __init__(self, root: Path, name: str):
        self.root, self.name = root, name

    async def send(self, to: str, body: str) -> None:
        await asyncio.to_thread(self._change, to, body)

    async def recv(self) -> str:
        while True:
            if (self.root / f"{self.name}.json").exists() and (
                found := await asyncio.to_thread(self._change, self.name)
            ):
                return found
            await asyncio.sleep(POLL)

    def _change(self, name: str, body: str | None = None) -> str | None:
        """Under the lock: read all, add one or take the first, write all, rename; on disk before it is said."""
        path = self.root / f"{name}.json"
        with open(self.root / f"{name}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            messages = json.loads(path.read_text()) if path.exists() else []
            if body is None and not messages:
                return None
            first = messages.pop(0) if body is None else messages.append(body)
            with open(fresh := path.with_suffix(".new"), "w") as out:
                json.dump(messages, out)
                out.flush()
                os.fsync(out.fileno())
            os.replace(fresh, path)
            folder = os.open(self.root, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            return first
