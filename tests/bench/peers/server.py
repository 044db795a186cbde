"""Servers of the bench: started in a directory of their own, on free ports, as a user that they agree to run as."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(where: Path | int, server: subprocess.Popen, seconds: float = 60) -> None:
    """Wait until the server takes connections there; one that does not is ended."""
    until = time.monotonic() + seconds
    address = ("127.0.0.1", where) if isinstance(where, int) else str(where)
    while time.monotonic() < until and server.poll() is None:
        with socket.socket(socket.AF_INET if isinstance(where, int) else socket.AF_UNIX) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.05)
    end(server)
    raise TimeoutError(f"{server.args[0]} did not come up (exit code {server.returncode})")  # type: ignore[index]


def user(name: str, root: Path) -> dict[str, str]:
    """For subprocess: as that user, to whom the directory is given, when we are root; as ourselves otherwise."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(name)
    os.chown(root, entry.pw_uid, entry.pw_gid)
    return {"user": name, "group": entry.pw_gid}


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def found(command: str) -> str | None:
    """Where a server's program is: on PATH, or where Debian hides it."""
    hidden = (
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        Path("/usr/lib/rabbitmq/bin"),
        Path("/usr/sbin"),
    )
    with contextlib.suppress(OSError):
        for folder in hidden:
            if (folder / command).exists():
                return str(folder / command)
    return shutil.which(command)
