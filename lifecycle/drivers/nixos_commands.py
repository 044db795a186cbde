"""The commands of the host that the `nixos` driver runs, each an argv list, and what they say in our words."""

import contextlib
import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from . import nixos_files as files
from .spec import DriverError, Status

PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "Result", "MainPID", "ExecMainCode", "ExecMainStatus",
    "ExecMainStartTimestampMonotonic", "InvocationID", "NRestarts",
)  # fmt: skip
# What ExecMainCode says (waitid(2)): the process exited by itself; the other codes are of signals.
EXITED = "1"
HARNESS = "hive-harness.service"
SECONDS = 120.0


class Failed(DriverError):
    """A command of the host failed or did not end; the text has the end of what it said."""


def run(*argv: str, seconds: float = SECONDS, cwd: Path | None = None) -> str:
    """Its stdout; Failed when it could not be started, did not end in time, or ended badly."""
    words = " ".join(argv[:3])
    try:
        done = subprocess.run(argv, capture_output=True, timeout=seconds, cwd=cwd, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{words}` did not end within {seconds:.0f} s.") from None
    except OSError as error:
        raise Failed(f"`{words}` could not be run: {error.strerror}.") from None
    if done.returncode:
        raise Failed(f"`{words}` failed: {tail(done.stderr) or 'no reason was given'}")
    return done.stdout.decode(errors="replace")


def tail(output: bytes, most: int = 600) -> str:
    """The end of what a command said, without colours and control characters: some of it may be an agent's words."""
    return plain(output.decode(errors="replace"))[-most:].strip()


def plain(text: str) -> str:
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "".join(char if char.isprintable() or char == "\n" else " " for char in bare)


# ---- how it is --------------------------------------------------------------------------------------------------------


def show(name: str) -> dict[str, str]:
    """What systemd knows of its unit."""
    said = run("systemctl", "show", files.unit(name), "-p", ",".join(PROPERTIES), seconds=20)
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def status(name: str) -> Status:
    if files.conf(name) is None:
        return Status("absent")
    unit, record = show(name), files.record(name)
    at, pid = _begun(unit, record), _pid(unit)
    if pid:
        return Status("running", pid, at, None, record.get("fingerprint", ""))
    return Status("stopped", None, at, _exit_code(unit), record.get("fingerprint", ""))


def _pid(unit: dict[str, str]) -> int | None:
    """Of systemd-nspawn. Never 0 or 1: a signal to those would hit the caller's group or the host."""
    text = unit.get("MainPID", "0")
    return int(text) if text.isdecimal() and int(text) > 1 else None


def _begun(unit: dict[str, str], record: dict) -> datetime | None:
    """When nspawn was started, or after that the harness anew: only a hello since then counts.

    Not when the unit became active: that is said when all of the container is up, and its harness may be up sooner.
    """
    text = unit.get("ExecMainStartTimestampMonotonic", "0")
    if not text.isdecimal() or text == "0":
        return None
    started = time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - int(text) / 1e6)
    return datetime.fromtimestamp(max(started, record.get("at", 0.0)), UTC)


def _exit_code(unit: dict[str, str]) -> int | None:
    code, number = unit.get("ExecMainCode", "0"), unit.get("ExecMainStatus", "")
    if code == "0" or not number.isdecimal():
        return None
    return int(number) if code == EXITED else 128 + int(number)


def pidfd(name: str) -> int | None:
    """Of the container's process; asked for twice, for a pid may be somebody else's by the time it is opened."""
    if files.conf(name) is None:
        return None
    before = show(name)
    if not (pid := _pid(before)):
        return None
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(pid)
        after = show(name)
        if (before["MainPID"], before.get("InvocationID")) == (after["MainPID"], after.get("InvocationID")):
            return fd
        os.close(fd)
    return None


@cache
def private_users() -> bool:
    """Whether this NixOS' start script can give a container users of its own: it can since 2025, and is asked itself."""
    try:
        said = run("systemctl", "show", files.unit("probe"), "-p", "ExecStart", seconds=20)
        script = re.search(r"path=([^ ;]+)", said)
        return script is not None and "PRIVATE_USERS" in Path(script[1]).read_text(errors="replace")
    except (DriverError, OSError):
        return False


# ---- what it wrote ----------------------------------------------------------------------------------------------------


def journal(name: str, after: int | None, most: int) -> tuple[str, int]:
    """From the first entry later than `after` (microseconds since 1970) on, or the end of it, and where to go on."""
    of_harness = ["-M", files.container(name), "-u", HARNESS]
    for whose in (of_harness, ["-u", files.unit(name)]):
        # The harness's own words while there is a machine to ask; before and after that, what the container printed.
        entries = _entries(whose, after, most)
        if entries:
            return _page(entries, after, most)
    return "", after or 0


def _entries(whose: list[str], after: int | None, most: int) -> list[tuple[int, str]]:
    since = ["-n", "500"] if after is None else [f"--since=@{after / 1e6:.6f}"]
    argv = ["journalctl", *whose, "-o", "json", "--output-fields=MESSAGE", "--no-pager", *since]
    found: list[tuple[int, str]] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as reading:
        assert reading.stdout
        size = 0
        for line in reading.stdout:
            entry = _entry(line)
            if entry and (after is None or entry[0] > after):
                found.append(entry)
                size += len(entry[1])
            if after is not None and size > most:
                reading.kill()
                break
    return found


def _entry(line: bytes) -> tuple[int, str] | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        entry = json.loads(line)
        words = entry["MESSAGE"]
        # journalctl writes what is not UTF-8 as a list of bytes.
        text = words if isinstance(words, str) else bytes(words or ()).decode(errors="replace")
        return int(entry["__REALTIME_TIMESTAMP"]), text + "\n"
    return None


def _page(entries: list[tuple[int, str]], after: int | None, most: int) -> tuple[str, int]:
    """Whole entries; those of one microsecond stay together, for the position is their time."""
    if after is None:
        text = "".join(text for _, text in entries)
        return text.encode()[-most:].decode(errors="ignore"), entries[-1][0]
    page, size, last = [], 0, after
    for at, text in entries:
        if size and size + len(text.encode()) > most and at != last:
            break
        page.append(text)
        size, last = size + len(text.encode()), at
    return "".join(page), last
