"""The asking end of the wire, for the command line and the harness. It knows no Django."""

import asyncio
import json
from pathlib import Path
from typing import Any

from .jsonrpc import LINE, POLL, Refused, encode


class Unreachable(Exception):
    """Nobody listens on the socket."""


class Client:
    """Asks verbs of one socket, from the CLI and from the harness.

    `patience` is how many seconds an unreachable host is tried again (None: for ever). A call that was under way when
    the connection broke is asked again, so what changes something carries a `cid` or a `key` that makes a repeat harmless.
    """

    def __init__(self, path: Path | str, patience: float | None = 0.0):
        self.path, self.patience = Path(path), patience
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task | None = None
        self._waiting: dict[int, asyncio.Future] = {}
        self._ids = 0
        self._connecting = asyncio.Lock()

    async def call(self, verb: str, /, timeout: float = POLL + 15, **params: Any) -> Any:
        """The verb's result; Refused when it says no, TimeoutError, or Unreachable when patience has run out."""
        loop = asyncio.get_running_loop()
        begun, pause = loop.time(), 0.1
        while True:
            try:
                async with asyncio.timeout(timeout):
                    return await self._ask(verb, params)
            except (ConnectionError, FileNotFoundError, asyncio.IncompleteReadError) as error:
                if self.patience is not None and loop.time() - begun >= self.patience:
                    raise Unreachable(f"Nobody answers on {self.path} ({error or type(error).__name__}).") from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def close(self) -> None:
        if self._writer:
            self._writer.close()
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._writer = self._reading = None

    async def _ask(self, verb: str, params: dict[str, Any]) -> Any:
        writer = await self._connected()
        self._ids += 1
        id_, future = self._ids, asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        try:
            writer.write(encode({"jsonrpc": "2.0", "id": id_, "method": verb, "params": params}))
            await writer.drain()
            reply = await future
        finally:
            self._waiting.pop(id_, None)
        if "error" in reply:
            raise Refused.from_error(reply["error"])
        return reply.get("result")

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None:
                # The host may answer with more than it takes: a page of events is longer than a request.
                reader, self._writer = await asyncio.open_unix_connection(self.path, limit=64 * LINE)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        error: Exception = ConnectionResetError("the host closed the connection")
        try:
            while line := await reader.readline():
                reply = json.loads(line)
                if reply.get("id") is None and "error" in reply:
                    error = Refused.from_error(reply["error"])
                elif (future := self._waiting.get(reply.get("id"))) and not future.done():
                    future.set_result(reply)
        except ConnectionError as broken:
            # A host that said why before it hung up is the better reason.
            error = error if isinstance(error, Refused) else broken
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(error)
            self._waiting = {}


async def ask(path: Path | str, verb: str, /, patience: float = 0.0, **params: Any) -> Any:
    """One call on a connection of its own."""
    client = Client(path, patience)
    try:
        return await client.call(verb, **params)
    finally:
        await client.close()
