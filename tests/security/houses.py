"""Houses: containers that a real driver really starts, each with a prober inside, as root and as a plain user.

A house is a line of HOUSES. Its keeper is a process of its own with settings of its own, which prepares and starts two agents
as a hive does: `scout`, who tries things, and `other`, who has what scout must not get.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lifecycle import safe_fs
from lifecycle.drivers import DRIVERS

PROJECT = Path(__file__).resolve().parents[2]
SITE = Path(pytest.__file__).parent.parent
PLAIN_UID = 65534
PROBER = Path(__file__).with_name("prober.py")
SECRET = "the secret of another"  # noqa: S105


class Plan(NamedTuple):
    driver: str
    user: str  # "root" or "plain"


# The house without walls, in which every attempt has to succeed.
OPEN = Plan("process", "root" if os.geteuid() == 0 else "plain")
HOUSES = {
    "bwrap as root": Plan("bwrap", "root"),
    "bwrap as a plain user": Plan("bwrap", "plain"),
    "nspawn": Plan("nspawn", "root"),
}

KEEPER = """
import atexit, json, os, shutil, sys, django; django.setup()
from django.conf import settings
from lifecycle import allot, isolation, paths, room
from lifecycle.config import AgentConfig
from lifecycle.drivers import DRIVERS, Spec
driver = DRIVERS[sys.argv[1]]
atexit.register(lambda: [room.remove(room.of(name)) for name in os.listdir(paths.run_dir(""))])
atexit.register(lambda: [driver.kill(name) for name in driver.list()])
def spec(name, config=None):
    words = 'exec "$HIVE_PYTHON" -I "$HIVE_STATE/prober.py" "$HIVE_RUN"'
    uid = allot.base() + 1 + sum(name.encode()) % 900
    return Spec(name, "agent", uid, "hm1nd", AgentConfig.read(config), command=("/bin/sh", "-c", words))
def start(name, config=None):
    one = spec(name, config)
    if refusal := driver.cannot(one.config):
        points = [point for point in isolation.level(driver.name)[1] if point.startswith("no limit")]
        why = [point for point in points if ("disk" in point) == ("disk_max" in config)]
        return {"cannot": why[0] if why else refusal}
    driver.prepare(one)
    shutil.copy(sys.argv[2], paths.state_dir(name))
    os.chmod(paths.state_dir(name) / "prober.py", 0o644)
    status, env = driver.start(one), driver.env(one)
    places = {"sockets": paths.socket_dir(name, "agent"), "state": paths.state_dir(name), "home": paths.claude_dir(name),
              "journal": paths.journal_dir(name), "inside": env.get("HIVE_STATE", "/state")}
    return {"pid": status.pid, "uid": driver.owner(one)} | {key: str(place) for key, place in places.items()}
def log(name):
    return driver.logs(name)[0]
VERBS = {"start": start, "log": log}
if missing := driver.probe():
    print(json.dumps({"missing": missing}), flush=True)
    sys.exit()
print(json.dumps({"missing": "", "runtime": str(settings.HIVE_RUNTIME_DIR)}), flush=True)
for line in sys.stdin:
    verb, params = json.loads(line)
    print(json.dumps(VERBS[verb](**params)), flush=True)
"""


class House:
    """Started by `with`; `missing` says in a sentence why it could not be."""

    def __init__(self, name: str, plan: Plan):
        self.name, self.plan = name, plan
        self.missing = self._missing()
        self.agents: dict[str, dict[str, Any]] = {}
        self.rooms: dict[str, Room] = {}

    def _missing(self) -> str:
        if self.plan.driver not in DRIVERS:
            return f"there is no driver {self.plan.driver} yet"
        if self.plan.user == "root" and os.geteuid() != 0:
            return "it needs root"
        return "" if self._python() else "/usr/bin/python3 cannot use the packages of this environment"

    def _python(self) -> str:
        """As root's plain user Debian's own, for ours may lie in a home that is only root's."""
        if self.plan.user == "root" or os.geteuid() != 0:
            return sys.executable
        trial = ["/usr/bin/python3", "-c", "import pydantic_core"]
        usable = subprocess.run(trial, env={"PYTHONPATH": str(SITE)}, capture_output=True).returncode == 0
        return "/usr/bin/python3" if usable else ""

    def __enter__(self) -> "House":
        self.root = Path(tempfile.mkdtemp(prefix="hh-", dir="/tmp"))
        if self.missing:
            return self
        user: list[str] = []
        if self.plan.user == "plain" and os.geteuid() == 0:
            os.chown(self.root, PLAIN_UID, PLAIN_UID)
            user = ["setpriv", f"--reuid={PLAIN_UID}", f"--regid={PLAIN_UID}", "--clear-groups", "--inh-caps=-all"]
        else:
            self.root.chmod(0o711)
        env = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(self.root), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{PROJECT}:{SITE}", "DJANGO_SETTINGS_MODULE": "hyperhive.settings",
            "HIVE_STATE_DIR": str(self.root / "s"), "HIVE_RUNTIME_DIR": str(self.root / "r"),
            "HIVE_AGENT_DISK_MAX": "64M",
        }  # fmt: skip
        self.keeper = subprocess.Popen(
            [*user, self._python(), "-c", KEEPER, self.plan.driver, str(PROBER)],
            env=env, cwd="/", text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            said = self._answer()
            self.missing = said["missing"]
            if not self.missing:
                self._furnish(Path(said["runtime"]))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _furnish(self, runtime: Path) -> None:
        for name in ("other", "scout"):
            self.agents[name] = self.tell("start", name=name)
        other = self.agents["other"]
        for place in ("state", "home", "journal"):
            (Path(other[place]) / "secret").write_text(SECRET)
        self.host_sock, self.other_sock = runtime / "host.sock", Path(other["sockets"]) / "mcp.sock"
        self.doors = [Answering(socket.AF_UNIX, str(path)) for path in (self.host_sock, self.other_sock)]
        for path in (self.host_sock, self.other_sock):
            path.chmod(0o660)
            os.chown(path, other["uid"], other["uid"]) if os.geteuid() == 0 else None

    def _answer(self) -> Any:
        line = self.keeper.stdout.readline()  # type: ignore[union-attr]
        assert line, f"the keeper of {self.name} ended"
        return json.loads(line)

    def tell(self, verb: str, **params: Any) -> Any:
        self.keeper.stdin.write(json.dumps([verb, params]) + "\n")  # type: ignore[union-attr]
        self.keeper.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def tries(self, probe: str, agent: str = "scout", **params: Any) -> dict[str, Any]:
        """{"gained", "why"} of an attempt from within."""
        if agent not in self.rooms:
            self.rooms[agent] = Room(Path(self.agents[agent]["sockets"]), lambda: self.tell("log", name=agent))
        return self.rooms[agent].ask(probe, params)

    def limited(self, name: str, **config: Any) -> str:
        """Start one more agent that is limited so; a sentence when the driver cannot limit."""
        self.agents[name] = self.tell("start", name=name, config=config)
        return self.agents[name].get("cannot", "")

    def __exit__(self, *_: object) -> None:
        for room in self.rooms.values():
            room.close()
        if hasattr(self, "keeper"):
            # With the line to it ends the keeper, and with that all that it started.
            self.keeper.stdin.close()  # type: ignore[union-attr]
            self.keeper.wait(30)
            self.keeper.stdout.close()  # type: ignore[union-attr]
        for door in getattr(self, "doors", []):
            door.close()
        # A file that an attempt made immutable would be in the way of rmtree.
        safe_fs.purge(self.root)


class Room:
    """The line to a prober, which dials in."""

    def __init__(self, sockets: Path, log: Any):
        self.log = log
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(sockets / "probe.sock"))
        (sockets / "probe.sock").chmod(0o666)
        listening.listen(1)
        listening.settimeout(60)
        try:
            self.line = listening.accept()[0]
        except TimeoutError:
            raise AssertionError(f"no prober dialled in: {log()}") from None
        finally:
            listening.close()
        self.line.settimeout(60)
        self.lines = self.line.makefile("rw")

    def ask(self, probe: str, params: dict[str, Any]) -> dict[str, Any]:
        self.lines.write(json.dumps({"probe": probe, "with": params}) + "\n")
        self.lines.flush()
        answer = self.lines.readline()
        assert answer, f"the prober ended: {self.log()}"
        return json.loads(answer)

    def close(self) -> None:
        self.lines.close()
        self.line.close()


class Answering:
    """A door of the host's: whoever gets through reads SECRET."""

    def __init__(self, family: int, address: Any):
        self.door = socket.socket(family)
        self.door.bind(address)
        self.door.listen(8)
        self.at = self.door.getsockname()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self.door.accept()
            except OSError:
                return
            with caller, contextlib.suppress(OSError):
                caller.sendall(SECRET.encode())

    def close(self) -> None:
        # Closing alone does not wake who accepts.
        with contextlib.suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        self.thread.join(10)
