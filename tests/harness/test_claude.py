"""One run of something that behaves like claude, or does not."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import claude
from harness.claude import Run, parsed


def script(folder: Path, text: str) -> None:
    (folder / "claude").write_text(f"#!{sys.executable}\n{text}")
    (folder / "claude").chmod(0o755)


def test_only_objects_are_events() -> None:
    assert parsed(b'{"type": "x"}\n') == {"type": "x"}
    for text in (b"", b"3", b"[]", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000):
        assert parsed(text) is None


class Heard(list):
    async def __call__(self, kind: str, line: dict[str, Any]) -> None:
        self.append((kind, line))

    def texts(self) -> list[str]:
        return [line["text"] for kind, line in self if kind == "log"]


async def run(folder: Path, text: str, stop_after: float | None = None) -> tuple[Run, Heard]:
    script(folder, text)
    heard = Heard()
    run = Run(heard)
    going = asyncio.create_task(run.go([str(folder / "claude")], dict(os.environ), folder, "hello"))
    if stop_after is not None:
        await asyncio.sleep(stop_after)
        run.stop("timeout", ((0.2, claude.signal.SIGTERM), (0.2, claude.signal.SIGKILL)))
    await going
    return run, heard


async def test_what_is_no_event_goes_into_the_log(tmp_path: Path) -> None:
    code = "import sys, json; input(); print('warning'); sys.stderr.write('oops\\n'); print(json.dumps({'type': 'result'}))"
    ran, heard = await run(tmp_path, code)
    assert ("result", {"type": "result"}) in heard
    assert sorted(heard.texts()) == ["oops", "warning"]
    assert ran.exit_code == 0


async def test_the_prompt_comes_as_a_line_and_the_result_closes_stdin(tmp_path: Path) -> None:
    code = (
        "import sys, json\nsaid = json.loads(input())\nprint(json.dumps({'type': 'result', 'said': said}), flush=True)\n"
        "sys.stdin.read()\nprint(json.dumps({'type': 'closed'}))"
    )
    _, heard = await run(tmp_path, code)
    assert heard[0][1]["said"] == {"type": "user", "message": {"role": "user", "content": "hello"}}
    assert heard[1][0] == "closed"


async def test_a_child_that_holds_the_pipe_does_not_hold_the_turn(tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(30)"
    begun = asyncio.get_running_loop().time()
    ran, _ = await run(tmp_path, code)
    assert ran.exit_code == 0
    assert asyncio.get_running_loop().time() - begun < 5


async def test_the_ladder_ends_what_ignores_its_lower_rungs(tmp_path: Path) -> None:
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(30)"
    ran, heard = await run(tmp_path, code, stop_after=0.5)
    assert (ran.stopped, ran.exit_code) == ("timeout", -9)
    assert heard.texts() == ["up"]


async def test_a_line_of_megabytes_is_an_event(tmp_path: Path) -> None:
    code = "import json; input(); print(json.dumps({'type': 'user', 'x': 'x' * 3_000_000}))"
    _, heard = await run(tmp_path, code)
    assert len(heard[0][1]["x"]) == 3_000_000


async def test_a_listener_that_fails_ends_claude(tmp_path: Path) -> None:
    script(tmp_path, "import time; print('{}', flush=True); time.sleep(30)")

    async def fail(kind: str, line: dict[str, Any]) -> None:
        raise RuntimeError("disk full")

    run = Run(fail)
    with pytest.raises(RuntimeError, match="disk full"):
        await run.go([str(tmp_path / "claude")], dict(os.environ), tmp_path, "x")
    assert run.exit_code == -9
