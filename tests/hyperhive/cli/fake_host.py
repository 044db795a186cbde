"""A host that answers as it is told to, the rows it answers with, and `hive` run as people run it."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from broker.wire import Refused, listen

PROJECT = Path(__file__).resolve().parents[3]


def then() -> str:
    """Three minutes before whenever it is asked: the suite runs for longer than that."""
    return (datetime.now(UTC) - timedelta(minutes=3)).isoformat()


# Everything that moves a cursor, sets a clipboard, turns text around or is taken for markup.
HOSTILE = (
    "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b31m\x85\u202egnp.exe\u2066\u200b\u2028\x7f\ue000\r[red]R[/red][/nope]:smile:"
)


def container(name="scout", **other):
    row = {
        "name": name, "role": "agent", "incarnation": "i1", "driver": "process", "port": 8123, "uid": 1900, "desired": "running",
        "status": "running", "op": "", "step": "", "error": "", "fingerprint": "", "paused": False, "restarts": 0,
        "purged": None, "config": {}, "state": "idle", "state_since": then(), "why": "", "status_since": then(),
        "created_at": then(), "inbox": 0, "cli_version": "2.1.330", "pid": 1, "started_at": then(), "exit_code": None,
    }  # fmt: skip
    return row | other


def message(id=1, **other):
    row = {
        "id": id, "cid": f"c{id}", "sender": "scout", "recipient": "operator", "body": "hello", "reply_to": None, "chain": "c1",
        "hop": 0, "state": "queued", "attempt": 0, "turn": None, "created_at": then(), "claimed_at": None, "delivered_at": None,
        "reason": "",
    }  # fmt: skip
    return row | other


def approval(id=1, **other):
    row = {
        "id": id, "kind": "spawn", "agent": "scout", "incarnation": "", "why": "to look around", "content": '{"name": "scout"}',
        "sha256": "a" * 64, "sha": "", "base": "", "state": "pending", "requested_by": "hm1nd", "created_at": then(),
        "expires_at": then(), "decided_by": "", "decided_at": None, "decided_from": "", "reason": "", "step": "", "error": "",
    }  # fmt: skip
    return row | other


def hit(number=1, **other):
    row = {
        "kind": "messages",
        "title": f"#{number} scout → hm1nd",
        "text": "a word",
        "at": then(),
        "page": f"/messages/{number}",
    }
    return row | other


def act(id=1, **other):
    row = {
        "id": id,
        "at": then(),
        "by": "operator",
        "where": "the command line, uid 0",
        "verb": "stop",
        "target": "scout",
    }
    return row | {"words": ""} | other


def event(seq=1, **other):
    payload = {"message": {"content": [{"type": "text", "text": "I look."}]}}
    row = {
        "id": seq + 100,
        "agent": "scout",
        "seq": seq,
        "turn": None,
        "kind": "assistant",
        "payload": payload,
        "at": then(),
    }
    return row | other


def turn(number=1, **other):
    row = {
        "id": f"turn-{number}", "number": number, "session_id": "s", "started_at": then(), "ended_at": then(), "outcome": "ok",
        "error": "", "model": "m", "cli_version": "2.1.330", "cost_usd": 0.01, "input_tokens": 5, "output_tokens": 7,
        "cache_read_tokens": 0, "cache_write_tokens": 0, "chain": "c1",
    }  # fmt: skip
    return row | other


class FakeHost:
    """Answers each verb with what `answers` holds for it: a value, a Refused, a function of the params, or a list of
    those, one per call, of which the last stays."""

    def __init__(self, path):
        self.path, self.answers, self.calls = path, {}, []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = self._run(listen(path / "host.sock", self._verb))

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _verb(self, peer, method, params):
        self.calls.append((method, params))
        answer = self.answers.get(method, Refused("unknown_verb", f"There is no verb {method!r} here."))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(params)
        if isinstance(answer, Refused):
            raise answer
        return answer

    def said(self, verb):
        return [params for method, params in self.calls if method == verb]

    async def hang_up(self):
        """Stops listening and ends every connection."""
        self.server.close()
        # Who has gone meanwhile is seen to go.
        for _ in range(10):
            await asyncio.sleep(0)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def close(self):
        self._run(self.hang_up())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def process(host_dir, *argv, **how):
    """Starts `manage.py hive ARGUMENTS` as people do."""
    env = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "NO_COLOR")}
    env |= {"HIVE_RUNTIME_DIR": str(host_dir), "HIVE_STATE_DIR": str(host_dir / "none")} | how.pop("env", {})
    argv = [sys.executable, str(PROJECT / "manage.py"), "hive", *argv]
    return subprocess.Popen(argv, env=env, cwd="/", text=True, **how)


def finished(host_dir, *argv, **how):
    piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with process(host_dir, *argv, **(piped | how)) as child:
        out, err = child.communicate(timeout=30)
    return SimpleNamespace(code=child.returncode, out=out, err=err)


def on_a_terminal(host, *argv, typed, env=None, each=False):
    """Runs it on a terminal of its own; once asked, types that or, with nothing to type, interrupts it. Exit code, all shown.

    `each` types it each time that it is asked.
    """
    ours, theirs = pty.openpty()
    with process(host.path, *argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env or {"TERM": "xterm"}) as child:
        os.close(theirs)
        shown, answered = b"", False
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # Linux says EIO when the other end is gone
                break
            if not answered and shown.rstrip().endswith((b"go on:", b"[y/N]", b"Code:")):
                os.write(ours, typed) if typed else child.send_signal(signal.SIGINT)
                answered = not each
    os.close(ours)
    return child.returncode, shown.decode()
