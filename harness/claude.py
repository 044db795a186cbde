"""Runs claude once: its lines as they come, and the ladder that ends it."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

# Bytes; 164 kB is the longest line that was seen, an answer of 200 kB makes one of its size.
LONGEST_LINE = 32 * 1024 * 1024
LONGEST_LOG = 4096
CHUNK = 64 * 1024
TOO_LONG = b"(a line of more than 32 MiB was passed over)"
# Seconds: what claude may still do after its result, and how long its pipes are read after its end, as a child that
# lives on may hold them.
AFTER_RESULT, AFTER_EXIT = 30.0, 2.0

# From polite to final: seconds to wait, then the signal. The first rung is the interrupt over stdin.
Ladder = tuple[tuple[float, signal.Signals], ...]
LADDER: Ladder = ((5.0, signal.SIGINT), (5.0, signal.SIGTERM), (2.0, signal.SIGKILL))
HURRIED: Ladder = ((1.5, signal.SIGINT), (1.0, signal.SIGTERM), (0.5, signal.SIGKILL))
INTERRUPT = {"type": "control_request", "request_id": "stop", "request": {"subtype": "interrupt"}}

Line = dict[str, Any]
Tell = Callable[[str, Line], Awaitable[None]]


class NoClaude(Exception):
    """There is no claude here that we can drive; the text says why."""


class Run:
    """One claude process. `tell(kind, line)` hears every line; `stop(code)` ends it, whatever it is doing."""

    def __init__(self, tell: Tell):
        self.tell = tell
        # Why we ended it, if we did: then it is no success, whatever claude says of it.
        self.stopped = ""
        self.exit_code: int | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.tasks: set[asyncio.Task] = set()
        self.results = 0

    async def go(self, command: list[str], env: dict[str, str], cwd: Path, prompt: str) -> None:
        """Run to the end. NoClaude when it cannot be started."""
        if self.stopped:
            return
        try:
            self.process = await asyncio.create_subprocess_exec(
                *command, env=env, cwd=cwd, limit=CHUNK, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise NoClaude(f"{command[0]} cannot be run: {error.strerror}.") from None
        try:
            await self._converse(self.process, prompt)
        finally:
            await self._finish(self.process)

    def stop(self, code: str, ladder: Ladder = LADDER) -> None:
        """Begin to climb the ladder; who asks first gives the reason."""
        if not self.stopped:
            self.stopped = code
            self._task(self._climb(ladder))

    async def _converse(self, process: asyncio.subprocess.Process, prompt: str) -> None:
        self._say({"type": "user", "message": {"role": "user", "content": prompt}})
        reading = asyncio.gather(self._read_lines(process), self._read_log(process))
        # Not process.wait(): up to Python 3.12 it waits for the pipes too, which a child of claude may hold open.
        while process.returncode is None and not (reading.done() and reading.exception()):
            # Its pipes mostly end with it: 20 ms are spent only where a child holds them.
            await asyncio.wait([reading], timeout=0.02)
            await asyncio.sleep(0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AFTER_EXIT):
                await reading

    async def _finish(self, process: asyncio.subprocess.Process) -> None:
        for task in self.tasks:
            task.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            while process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        self.exit_code = process.returncode
        process._transport.close()  # type: ignore[attr-defined]  # closes the pipes that an orphan may still hold

    async def _read_lines(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for text in lines(process.stdout):
            line = parsed(text)
            if line is None:
                await self._log(text)
                continue
            await self.tell(str(line.get("type") or "unknown"), line)
            if line.get("type") == "result":
                self._close_stdin(process)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr
        async for text in lines(process.stderr):
            await self._log(text)

    async def _log(self, text: bytes) -> None:
        if words := text.decode(errors="replace").strip():
            await self.tell("log", {"text": words[:LONGEST_LOG]})

    def _close_stdin(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        process.stdin.close()
        self.results += 1
        if self.results == 1:
            self._task(self._linger())

    async def _linger(self) -> None:
        await asyncio.sleep(AFTER_RESULT)
        self.stop("killed")

    async def _climb(self, ladder: Ladder) -> None:
        self._say(INTERRUPT)
        for seconds, signal_ in ladder:
            await asyncio.sleep(seconds)
            if self.process:
                with contextlib.suppress(ProcessLookupError):
                    self.process.send_signal(signal_)

    def _say(self, line: Line) -> None:
        if self.process and self.process.stdin and not self.process.stdin.is_closing():
            self.process.stdin.write(json.dumps(line).encode() + b"\n")

    def _task(self, story: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.create_task(story))


async def lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Line by line; one beyond all measure is passed over instead of ending the turn.

    Read in small pieces: claude waits in its pipe for as long as the journal takes, and little of it is in memory.
    """
    pieces: list[bytes] = []
    length = 0
    while data := await reader.read(CHUNK):
        *ends, rest = data.split(b"\n")
        for end in ends:
            yield b"".join([*pieces, end, b"\n"]) if length + len(end) < LONGEST_LINE else TOO_LONG
            pieces, length = [], 0
        length += len(rest)
        # Of what will be passed over nothing is kept.
        if length < LONGEST_LINE:
            pieces.append(rest)
        else:
            pieces.clear()
    if length:
        yield b"".join(pieces) if length < LONGEST_LINE else TOO_LONG


def parsed(text: bytes) -> Line | None:
    """The line as an object; None when it is anything else."""
    try:
        line = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
