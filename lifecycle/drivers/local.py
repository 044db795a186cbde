"""What nspawn, bwrap and process share: an agent is one process tree here, started by launch.py and kept by run.json."""

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings

from lifecycle import cli, paths, room, safe_fs
from lifecycle.config import AgentConfig

from .cgroups import cgroups, limits
from .driver import GRACE, LOG_PAGE, Driver
from .launch import LOG_MOST
from .run import Run, attach
from .spec import DriverError, Spec, Status

LAUNCH, MONITOR = Path(__file__).with_name("launch.py"), Path(__file__).with_name("monitor.py")
# -P: nothing that an agent can write to is ever on the harness's import path.
HARNESS = ("-P", "-m", "django", "harness")
PACKAGES = ("agents", "broker", "harness")
LANG = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "harness.settings"}
# What would need a package manager, which is not here.
NEVER = ("packages",)


class Local(Driver):
    @abstractmethod
    def argv(self, spec: Spec) -> list[str]:
        """What is executed; {STATUS} and {LOCK} stand for the descriptors that it hands down."""

    @abstractmethod
    def env(self, spec: Spec) -> dict[str, str]: ...

    def cannot(self, config: AgentConfig) -> str:
        """'' when every setting can take effect here, else a sentence that names those that cannot."""
        asked = [key for key in (*self.lacking(), *NEVER) if getattr(config, key)]
        words = ", ".join(asked)
        return f"Driver {self.name} cannot honour {words} here: take it out of the configuration." if asked else ""

    def lacking(self) -> list[str]:
        """The limits that cannot take effect on this machine."""
        return [*cgroups().lacking(), *(["disk_max"] if room.missing(self.name) else [])]

    def room(self, spec: Spec) -> int:
        """Bytes that its files may take together; 0 for no limit."""
        return 0 if "disk_max" in self.lacking() else room.size(spec.config)

    # ---- the verbs

    def prepare(self, spec: Spec) -> None:
        """Directories, their owner and agent.json; DriverError when the agent could not be started as it is configured."""
        if refusal := self.cannot(spec.config):
            raise DriverError(refusal)
        if missing := self.probe():
            raise DriverError(missing)
        if not spec.command:
            claude()
        try:
            self._make_places(spec)
        except OSError as error:
            raise DriverError(f"The directories of {spec.name} cannot be made: {error}.") from None

    def start(self, spec: Spec) -> Status:
        """Start it; nothing to do when it runs as it should, DriverError when it runs in another way."""
        status, fingerprint = self.status(spec.name), self.fingerprint(spec)
        if status.running:
            if status.fingerprint != fingerprint:
                raise DriverError(f"{spec.name} runs with another configuration: restart it.")
            return status
        self._launch(spec, fingerprint)
        return self.status(spec.name)

    def stop(self, name: str, grace: float = GRACE) -> Status:
        """Ask it to end, make it end, and see that it has."""
        run = self.run(name)
        run.end(grace)
        self._clear(run)
        return run.status()

    def kill(self, name: str) -> Status:
        return self.stop(name, 0)

    def status(self, name: str) -> Status:
        return self.run(name).status()

    def update(self, spec: Spec) -> bool:
        """Write the new configuration; True when the running container has to be started anew to see it."""
        self.prepare(spec)
        status = self.status(spec.name)
        return status.running and status.fingerprint != self.fingerprint(spec)

    def destroy(self, name: str) -> None:
        """The container is nothing but its processes: when they are gone, nothing is left to remove."""
        self.kill(name)

    def list(self) -> list[str]:
        """The names of all that run, whether or not anybody knows them."""
        root = paths.run_dir("")
        names = [entry.name for entry in root.iterdir() if entry.is_dir()] if root.exists() else []
        return sorted(name for name in names if self.status(name).running)

    def logs(self, name: str, after: int | None = None, most: int = LOG_PAGE) -> tuple[str, int]:
        """Up to `most` bytes of its output from byte `after` on (None: the end of it), and where to go on."""
        try:
            with open(self.run(name).place / "log", "rb") as log:
                size = os.fstat(log.fileno()).st_size
                # Behind the end: the log was begun anew meanwhile.
                begin = max(0, size - most) if after is None else after if after <= size else 0
                log.seek(begin)
                data = log.read(most)
        except FileNotFoundError:
            return "", 0
        return data.decode(errors="replace"), begin + len(data)

    def trim(self, name: str) -> bool:
        """The end of what was said is put aside, as launch.py does at a start; who writes it appends, so at its new end."""
        with contextlib.suppress(FileNotFoundError), open(self.run(name).place / "log", "r+b") as log:
            if os.fstat(log.fileno()).st_size > LOG_MOST:
                log.seek(-LOG_PAGE, os.SEEK_END)
                (self.run(name).place / "log.1").write_bytes(log.read(LOG_PAGE))
                log.truncate(0)
                return True
        return False

    def wait(self, name: str, seconds: float) -> Status:
        """Its status once it has ended, or after that many seconds."""
        run = self.run(name)
        if run.wait(seconds):
            self._clear(run)
        return run.status()

    def watch(self, name: str) -> int | None:
        """A descriptor that becomes readable when it ends, for the caller to close; None when it does not run."""
        return attach(self.run(name).record(), "init")

    # ---- how

    def run(self, name: str) -> Run:
        return Run(paths.run_dir(name))

    def fingerprint(self, spec: Spec) -> str:
        """Equal when a container that is made now would be the same."""
        made_of: list[Any] = [agent_json(spec), self.argv(spec), self.env(spec), os.fspath(settings.PROJECT), release()]
        if not spec.command:
            # The file may have been exchanged under its name.
            made_of.append(cli_version())
        if cgroups().able:
            made_of.append(limits(spec.config))
        made_of.append(self.room(spec))
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    def _clear(self, run: Run) -> None:
        """End what it left behind: with the lock in our hands nobody starts it meanwhile."""
        with run.alone() as alone:
            if alone:
                cgroups().end(run.place.name)

    def _make_places(self, spec: Spec) -> None:
        room.furnish(room.of(spec.name), self.room(spec))
        for place in paths.owned_by_agent(spec.name):
            safe_fs.give(place, self.owner(spec))
        for place in (paths.run_dir(spec.name), paths.applied_dir(spec.name)):
            safe_fs.give(place, os.geteuid(), 0o700)
        # Ours, for the manager to list: what is the manager's begins two levels below.
        safe_fs.give(paths.proposed_dir(), os.geteuid(), 0o755)
        # The socket's own mode decides who connects; the directory has to let the agent through.
        safe_fs.give(paths.socket_dir(spec.name, spec.role), os.geteuid(), 0o711)
        write(paths.agent_file(spec.name), json.dumps(agent_json(spec), indent=1), self.owner(spec))

    def _launch(self, spec: Spec, fingerprint: str) -> None:
        order = {
            "dir": os.fspath(paths.run_dir(spec.name)),
            "argv": [*cgroups().command(spec.name, limits(spec.config)), *self.argv(spec)],
            "env": self.env(spec),
            "cwd": "/",
            "fingerprint": fingerprint,
        }
        try:
            launched = subprocess.run(
                [sys.executable, "-I", "-S", LAUNCH],
                input=json.dumps(order),
                text=True,
                capture_output=True,
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DriverError(f"{spec.name} could not be started: {error}.") from None
        if launched.returncode == 75:
            raise DriverError(f"Something of {spec.name} still runs that run.json does not name: stop it first.")
        if launched.returncode:
            self._clear(self.run(spec.name))
            words = launched.stderr.strip() or self.logs(spec.name, most=500)[0].strip()
            raise DriverError(f"{spec.name} could not be started: {words[-500:] or 'no reason was given'}")


def monitored(first: str) -> list[str]:
    """What stands in front of a command that cannot tell its first process and its exit code to a descriptor itself."""
    return [sys.executable, "-I", "-S", os.fspath(MONITOR), "{STATUS}", "{LOCK}", first]


def claude() -> Path:
    try:
        return cli.usable()
    except cli.NoClaude as no:
        raise DriverError(str(no)) from None


def cli_version() -> str:
    try:
        return cli.version()
    except cli.NoClaude as no:
        raise DriverError(str(no)) from None


def release() -> str:
    """Of hyperhive: what an older one started is stale."""
    front_door = apps.get_app_config("hyperhive").module  # by name: it is not ours to import
    return getattr(front_door, "__version__", "")


def package(name: str) -> Path:
    """Where one of our packages lies, found without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise DriverError(f"The package {name} is missing: this checkout is not whole.")
    return Path(next(iter(found.submodule_search_locations)))


def agent_json(spec: Spec) -> dict[str, Any]:
    """What the harness reads: /etc/hyperhive/agent.json, schema 1."""
    relayed = settings.HIVE_MODEL_URL or settings.HIVE_ANTHROPIC_API_KEY_FILE
    return {
        "schema": 1,
        "name": spec.name,
        "role": spec.role,
        "manager": spec.manager,
        "model_url": "relay" if relayed else None,
        "config": spec.config.for_harness(),
    }


def write(path: Path, text: str, reader: int) -> None:
    """A file of the host's that one agent may read: it may hold that agent's secrets."""
    new = path.with_name(f"{path.name}.{time.monotonic_ns()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as file:
        file.write(text)
        os.fchown(file.fileno(), -1, reader if os.geteuid() == 0 else -1)
        os.fsync(file.fileno())
    os.replace(new, path)
