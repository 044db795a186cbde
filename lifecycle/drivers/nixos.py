"""Driver `nixos`: each agent a NixOS container of its own, built from its flake before anything that runs is touched.

`nixos-container` keeps the containers, systemd runs them. Build first, for a create whose build fails leaves its .conf
behind; roll back ourselves, for an update whose reload fails leaves the profile on the new system.
"""

import json
import logging
import os
import select
import shutil
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from broker.wire import Refused
from lifecycle import flakes, paths, room, safe_fs
from lifecycle.config import AgentConfig

from . import nixos_commands as commands
from . import nixos_files as files
from .driver import LOG_PAGE, Driver
from .nixos_build import FEATURES, BuildFailed, built
from .nixos_commands import run
from .spec import DriverError, Spec, Status

log = logging.getLogger("hive.lifecycle")

TOOLS = ("nixos-container", "nix", "nix-env", "systemctl", "journalctl")
# Seconds: a whole system has to shut down in order, and what was killed has to be seen to be gone.
GRACE, CLEARING = 60.0, 15.0
# A create or an update finds its build done, but evaluates once more.
SWITCH = 600.0
GENERATIONS = "+5"
LARGEST = 256 * 1024
# What the host itself acts on of a configuration; all else is the harness's.
HOST_KEYS = ("memory_max", "cpu_quota", "tasks_max", "disk_max", "egress")


class Nixos(Driver):
    name = "nixos"
    reloads = True

    def probe(self) -> str:
        if lacking := [tool for tool in TOOLS if not shutil.which(tool)]:
            return f"Driver nixos needs {', '.join(lacking)}: it runs on NixOS, with the module of hyperhive's flake."
        return "" if os.geteuid() == 0 else "Driver nixos needs root: nixos-container does nothing for others."

    def owner(self, spec: Spec) -> int:
        """Root inside: a user of the host that is nobody else's, or the host's root where NixOS is too old for that."""
        return files.first_user(spec) if commands.private_users() else 0

    def fingerprint(self, spec: Spec) -> str:
        return flakes.fingerprint(spec)

    # ---- making it

    def prepare(self, spec: Spec) -> None:
        """Directories and the build. One that failed before is not tried again: what there is of old will be started."""
        self._make_places(spec)
        if self._is_up_to_date(spec):
            return
        if why := self.known_to_fail(spec):
            self._fall_back(spec, f"This very configuration failed before, so it is not built again by itself: {why}")
            return
        try:
            files.remember(spec.name, built=[self.fingerprint(spec), built(spec)])
        except BuildFailed as failed:
            self._fall_back(spec, str(failed))

    def _built(self, spec: Spec) -> str:
        """What prepare() built, as long as Nix has not collected it."""
        fingerprint, system = files.record(spec.name).get("built") or ["", ""]
        return system if fingerprint == self.fingerprint(spec) and os.path.exists(system) else built(spec)

    def _is_up_to_date(self, spec: Spec) -> bool:
        record, system = files.record(spec.name), files.toplevel(spec.name)
        same = record.get("fingerprint") == self.fingerprint(spec) and record.get("toplevel") == system
        return bool(system) and same and files.conf(spec.name) is not None

    def _fall_back(self, spec: Spec, why: str) -> None:
        """An agent of old is better than none; its row stays stale, for its fingerprint is the old one."""
        if files.conf(spec.name) is None or not files.record(spec.name).get("toplevel"):
            raise DriverError(why)
        log.warning("%s: its last good system is used. %s", spec.name, why)

    def start(self, spec: Spec) -> Status:
        status = self.status(spec.name)
        if status.running:
            if status.fingerprint != self.fingerprint(spec) and not self.known_to_fail(spec):
                raise DriverError(f"{spec.name} runs with another configuration: rebuild it.")
            return status
        if not self._is_up_to_date(spec) and not self.known_to_fail(spec):
            self._switch(spec, self._built(spec), running=False)
        conf = files.write_conf(spec, commands.private_users())
        self._limit(spec)
        files.remember(spec.name, conf=conf, at=time.time())
        run("nixos-container", "start", files.container(spec.name))
        return self.status(spec.name)

    def update(self, spec: Spec) -> bool:
        """Asked for by somebody, so a configuration that failed before is tried again."""
        self._make_places(spec)
        spec.say("building its system")
        system = built(spec)
        running = self.status(spec.name).running
        spec.say("switching to its new system")
        self._switch(spec, system, running)
        conf = files.write_conf(spec, commands.private_users())
        self._limit(spec)
        # The binds and the network are nspawn's: only a start sees them.
        return running and files.record(spec.name).get("conf") != conf

    def known_to_fail(self, spec: Spec) -> str:
        failure = files.failure(spec.name)
        return failure["error"] if failure.get("fingerprint") == self.fingerprint(spec) else ""

    def _make_places(self, spec: Spec) -> None:
        if missing := self.probe():
            raise DriverError(missing)
        owner = self.owner(spec)
        try:
            most = 0 if room.missing(self.name) else room.size(self._limits(spec))
            room.furnish(room.of(spec.name), most)
            for place in paths.owned_by_agent(spec.name):
                safe_fs.give(place, owner)
            for place in (paths.run_dir(spec.name), paths.applied_dir(spec.name)):
                safe_fs.give(place, os.geteuid())
            for place in (paths.proposed_dir(), paths.socket_dir(spec.name, spec.role)):
                safe_fs.give(place, os.geteuid(), 0o711)
            files.build_dir(spec.name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DriverError(f"The directories of {spec.name} cannot be made: {error}.") from None
        files.conf_text(spec, False)  # a path that will not do is refused before anything is built
        flakes.write(spec)

    # ---- bringing a system in

    def _switch(self, spec: Spec, system: str, running: bool) -> None:
        """From here on the container is of that system; a failure leaves it, or brings it back to, what it was."""
        name = spec.name
        before = files.record(name).get("toplevel", "")
        try:
            self._set(name, system, running, before)
            if files.toplevel(name) != system:
                raise DriverError(f"nixos-container was to set {system}, but {files.profile(name)} names another.")
            if running and system != before:
                # A reload restarts what has changed; the harness always, so that its hello speaks for the new system.
                files.remember(name, at=time.time())
                run("systemctl", "-M", files.container(name), "restart", commands.HARNESS)
        except DriverError as error:
            # It built, but it does not do: as little to be tried again by itself as one that does not build.
            files.set_failure(name, self.fingerprint(spec), str(error))
            raise DriverError(f"{error}{self._roll_back(name, system, running, before)}") from None
        files.remember(name, fingerprint=self.fingerprint(spec), toplevel=system)
        run("nix-env", "-p", str(files.profile(name)), "--delete-generations", GENERATIONS)

    def _set(self, name: str, system: str, running: bool, before: str) -> None:
        reference = ("--flake", f"path:{files.plain(flakes.directory(name))}", *FEATURES)
        if files.conf(name) is None:
            self._nixos_container("create", name, *reference)
        elif files.toplevel(name) != system:
            self._nixos_container("update", name, *reference)
        elif running and before != system:
            # A crash came between the profile and the reload.
            run("systemctl", "reload", files.unit(name), seconds=SWITCH)

    def _nixos_container(self, verb: str, name: str, *words: str) -> None:
        try:
            run("nixos-container", verb, files.container(name), *words, seconds=SWITCH, cwd=files.build_dir(name))
        finally:
            # It never removes its link, which would keep the system from Nix's garbage collector for ever.
            (files.build_dir(name) / ".tmp").unlink(missing_ok=True)

    def _roll_back(self, name: str, system: str, running: bool, before: str) -> str:
        """Back to what ran before; a sentence for the error that led here."""
        if not before or before == system or files.toplevel(name) == before:
            return ""
        try:
            run("nix-env", "-p", str(files.profile(name)), "--rollback")
            if running:
                run("systemctl", "reload", files.unit(name), seconds=SWITCH)
                run("systemctl", "-M", files.container(name), "restart", commands.HARNESS)
        except DriverError as error:
            return f" Rolling back failed as well: {error}"
        return " It was rolled back to the system before."

    def _limit(self, spec: Spec) -> None:
        """Drop-ins of systemd's own, which outlive a restart of the host; destroy reverts them."""
        config = self._limits(spec)
        properties = (
            f"MemoryMax={config.memory_max or settings.HIVE_AGENT_MEMORY_MAX}",
            f"CPUQuota={config.cpu_quota or settings.HIVE_AGENT_CPU_QUOTA}",
            f"TasksMax={config.tasks_max or settings.HIVE_AGENT_TASKS_MAX}",
        )
        run("systemctl", "set-property", files.unit(spec.name), *properties)

    def _limits(self, spec: Spec) -> AgentConfig:
        """agent.nix decides where it says anything; else what the agent was spawned with."""
        return AgentConfig.read(spec.config.written() | (self.configured(spec.name) or {}))

    def configured(self, name: str) -> dict[str, Any] | None:
        """What agent.nix came to: the system that was built carries it as /etc/hyperhive/agent.json."""
        place = os.path.realpath(Path(files.toplevel(name) or "/nonexistent") / "etc/hyperhive/agent.json")
        # agent.nix could have made it a link to any file of the host's.
        if not place.startswith(f"{files.STORE}/") or not os.path.exists(place):
            return None
        try:
            with open(place, "rb") as file:
                config = json.loads(file.read(LARGEST))["config"]
            given = {key: config[key] for key in HOST_KEYS if config.get(key) is not None}
            return AgentConfig.read(given).written()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Refused) as error:
            log.warning("%s: %s is not what the harness reads: %s", name, place, error)
            return None

    # ---- ending it

    def stop(self, name: str, grace: float = GRACE) -> Status:
        if not self.status(name).running:
            return self.status(name)
        try:
            run("nixos-container", "stop", files.container(name), seconds=max(grace, 1.0))
        except commands.Failed as failed:
            log.warning("%s: %s It is killed.", name, failed)
        return self.kill(name)

    def kill(self, name: str) -> Status:
        """The stop comes first: systemd would start a killed one again."""
        if self.status(name).running:
            run("systemctl", "stop", "--no-block", files.unit(name))
            run("systemctl", "kill", "--signal=SIGKILL", files.unit(name))
        status = self.wait(name, CLEARING)
        if status.running:
            raise DriverError(f"{files.unit(name)} does not end, not even killed.")
        return status

    def destroy(self, name: str) -> None:
        """Stop it first: nixos-container would cut it off, and does not see one that is just starting."""
        self.stop(name)
        if files.conf(name) is not None:
            run("nixos-container", "destroy", files.container(name))
            run("systemctl", "revert", files.unit(name))
        for place in (flakes.directory(name), files.build_dir(name)):
            shutil.rmtree(place, ignore_errors=True)
        for kept in ("nixos.json", "failed.json"):
            (paths.run_dir(name) / kept).unlink(missing_ok=True)

    # ---- how it is

    def status(self, name: str) -> Status:
        return commands.status(name)

    def list(self) -> list[str]:
        return [name for name in files.ours() if self.status(name).running]

    def logs(self, name: str, after: int | None = None, most: int = LOG_PAGE) -> tuple[str, int]:
        """A position is a time here, in microseconds since 1970: the journal knows no bytes."""
        if files.conf(name) is None:
            return "", 0
        return commands.journal(name, after, most)

    def wait(self, name: str, seconds: float) -> Status:
        fd = self.watch(name)
        if fd is not None:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(max(0.0, seconds) * 1000)
            os.close(fd)
            self._settled(name)
        return self.status(name)

    def _settled(self, name: str) -> None:
        """nspawn is gone a moment before systemd has written down how it went."""
        until = time.monotonic() + 1.0
        while commands.show(name).get("ActiveState") in ("active", "deactivating") and time.monotonic() < until:
            time.sleep(0.02)

    def watch(self, name: str) -> int | None:
        return commands.pidfd(name)
