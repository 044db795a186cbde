"""Builds an agent's system before anything of it is touched: one build at a time per hive, its output to be watched."""

import contextlib
import fcntl
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from lifecycle import flakes, paths

from . import nixos_files as files
from .nixos_commands import plain, tail
from .spec import DriverError, Spec

# The host's own nix.conf may not have them.
FEATURES = ("--option", "extra-experimental-features", "nix-command flakes")
STORE_NAME = re.compile(r"[0-9a-z]{32}-[0-9A-Za-z+._?=-]+")
# Seconds between two words about it.
SAY = 1.0


class BuildFailed(DriverError):
    """The configuration does not evaluate or does not build; nothing was changed by trying."""


def built(spec: Spec) -> str:
    """The store path of the system that its flake describes; BuildFailed, remembered by fingerprint."""
    fingerprint = flakes.fingerprint(spec)
    with lock(spec):
        try:
            path = _build(spec)
        except BuildFailed as failed:
            files.set_failure(spec.name, fingerprint, str(failed))
            raise
    files.forget_failure(spec.name, fingerprint)
    return path


@contextlib.contextmanager
def lock(spec: Spec) -> Iterator[None]:
    """A build takes gigabytes: the next one waits, whichever thread or process it is in."""
    place = paths.run_dir("")
    place.mkdir(mode=0o711, parents=True, exist_ok=True)
    with open(os.open(place / "build.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as held:
        while not _taken(held):
            spec.say("waiting for another build to end")
            time.sleep(0.2)
        yield


def _taken(held: IO) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _build(spec: Spec) -> str:
    place, flake = files.build_dir(spec.name), flakes.write(spec)
    place.mkdir(mode=0o700, exist_ok=True)
    wanted = f"path:{files.plain(flake)}#{flakes.ATTR}"
    argv = ["nix", "build", "--no-link", "--print-out-paths", *FEATURES, "--", wanted]
    with open(paths.run_dir(spec.name) / "build.log", "wb") as log:
        code, said = _watched(spec, argv, place, log)
    last = tail(Path(log.name).read_bytes())
    if code:
        raise BuildFailed(f"The configuration of {spec.name} does not build: {last or 'nix gave no reason'}")
    path = said.decode(errors="replace").strip()
    store, _, name = path.rpartition("/")
    if store != files.STORE or not STORE_NAME.fullmatch(name):
        raise BuildFailed(f"nix said that it built {plain(path)[:100]!r}, which is no store path.")
    return path


def _watched(spec: Spec, argv: list[str], cwd: Path, log: IO[bytes]) -> tuple[int, bytes]:
    """Its exit code and stdout. What it says goes into the log as it comes; whatever ends us ends it, too."""
    try:
        building = subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )  # fmt: skip
    except OSError as error:
        raise DriverError(f"nix could not be run: {error.strerror}.") from None
    try:
        said = _followed(spec, building, log)
        return building.wait(), said
    finally:
        # Also when the wish was taken back meanwhile: then `say` has raised.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(building.pid, signal.SIGKILL)
        building.wait()
        for pipe in (building.stdout, building.stderr):
            if pipe:
                pipe.close()


def _followed(spec: Spec, building: subprocess.Popen[bytes], log: IO[bytes]) -> bytes:
    """Read both pipes to their ends; once a second tell the last line."""
    until, said, line, told = time.monotonic() + settings.HIVE_BUILD_TIMEOUT, b"", "", 0.0
    with selectors.DefaultSelector() as pipes:
        for pipe in (building.stdout, building.stderr):
            assert pipe
            pipes.register(pipe, selectors.EVENT_READ)
        while pipes.get_map():
            for key, _ in pipes.select(SAY):
                data = os.read(key.fd, 65536)
                if not data:
                    pipes.unregister(key.fileobj)
                elif key.fileobj is building.stdout:
                    said += data
                else:
                    log.write(data)
                    log.flush()
                    line = next((words for words in reversed(tail(data).splitlines()) if words.strip()), line)
            if time.monotonic() > until:
                raise BuildFailed(f"The build of {spec.name} did not end within {settings.HIVE_BUILD_TIMEOUT} s.")
            if time.monotonic() > told + SAY:
                spec.say(f"building: {line}"[:80] if line else "building its system")
                told = time.monotonic()
    return said
