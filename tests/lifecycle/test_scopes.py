"""Agents under systemd: a scope of their own, whatever becomes of the daemon's unit. Its own systemd is booted in a container.

The machine's /usr over a root in memory, no download, no network, under a second. Where systemd is PID 1 already, all other
tests of the drivers go through its scopes.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lifecycle import paths, room
from lifecycle.drivers import DRIVERS
from lifecycle.drivers.cgroups import Directories, Limits, cgroups
from tests.lifecycle.conftest import until

PROJECT = Path(__file__).resolve().parents[2]
missing = DRIVERS["nspawn"].probe() or (
    "" if isinstance(cgroups(), Directories) else "systemd is PID 1 or no cgroup is ours"
)
pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing), reason=f"agents in scopes of a systemd: {missing}")]

BOOT = (
    "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory=/", "--volatile=yes", "--boot",
    "--console=pipe", "--link-journal=no", "--private-network", "--capability=all", "--timezone=off", "--resolv-conf=off",
)  # fmt: skip

# What every process in there begins with; PLACE is on its root in memory.
PRELUDE = """
import os, sys, time, pathlib
os.environ["DJANGO_SETTINGS_MODULE"] = "hyperhive.settings"
os.environ["HIVE_STATE_DIR"], os.environ["HIVE_RUNTIME_DIR"] = "/var/hive", "/run/hive-test"
pathlib.Path("/var/hive").mkdir(mode=0o711, exist_ok=True)
os.environ.setdefault("HIVE_AGENT_DISK_MAX", "0")
import django; django.setup()
from lifecycle import paths, room
from lifecycle.drivers import DRIVERS, Spec, DriverError, choose
from lifecycle.drivers.cgroups import cgroups
import json
driver = DRIVERS[sys.argv[1]]
words = "trap 'exit 7' TERM; echo ready; sleep 600 & wait"
spec = Spec("scout", "agent", 1900000077, "hm1nd", command=("/bin/sh", "-c", words))
unit = paths.unit("scout") + ".scope"
"""
START = """
driver.prepare(spec); driver.start(spec)
while "ready" not in driver.logs("scout")[0]: time.sleep(0.02)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def inside() -> Iterator[Callable[..., str]]:
    """inside("argv", …): what a command prints in a container whose PID 1 is systemd."""
    name = f"sandbox-{os.getpid()}"
    procs = cgroups().make(name, Limits(4 << 30, 400, 4000))

    def join() -> None:
        for file in procs:
            Path(file).write_text(str(os.getpid()))

    places = {PROJECT, Path(sys.prefix), Path(sys.base_prefix), Path("/etc/alternatives")}
    binds = [f"--bind-ro={place}" for place in sorted(places) if not place.is_relative_to("/usr")]
    binds += [f"--bind={device}" for device in sorted(Path("/dev").glob("loop*"))]
    argv = [*BOOT, f"--machine={paths.unit(name)}", *binds, "--", "--unit=basic.target", "--show-status=no"]
    nspawn = psutil.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=join
    )
    try:
        first = until(lambda: [child for child in nspawn.children() if child.name() == "systemd"], 30)[0]

        def run(*command: str) -> str:
            enter = ["nsenter", "-t", str(first.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--", "/usr/bin/env", "-i"]
            done = subprocess.run(
                [*enter, "PATH=/usr/sbin:/usr/bin", *command], capture_output=True, text=True, timeout=60, cwd="/"
            )
            assert done.returncode == 0 or command[0] == "systemctl", done.stderr
            return done.stdout.strip()

        until(lambda: run("systemctl", "is-active", "basic.target") == "active", 30)
        yield run
    finally:
        cgroups().end(name)
        nspawn.wait(30)
        nspawn.stderr.close()
        left = Path("/run/systemd/nspawn/propagate", paths.unit(name))
        if left.exists():
            left.rmdir()


@pytest.fixture(params=["nspawn", "bwrap"])
def ask(inside, request) -> Iterator[Callable[[str], str]]:
    """ask("words of Python"): what a process of its own prints, to which the agent was never a child."""

    def python(words: str) -> str:
        return inside(
            sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r}){PRELUDE}{words}", request.param
        )

    inside("rm", "-rf", "/var/hive")
    script = f"import sys; sys.path.insert(0, {str(PROJECT)!r}){PRELUDE}{START}"
    inside("systemd-run", "--quiet", "--collect", "--unit=daemon", "--property=KillMode=control-group", sys.executable, "-c",
           script, request.param)  # fmt: skip
    until(lambda: "ready" in inside("/bin/sh", "-c", "cat /var/hive/run/scout/log 2>/dev/null; :"), 60)
    yield python
    python("driver.destroy('scout')")
    inside("systemctl", "stop", "daemon")


def test_an_agent_is_a_scope_of_its_own_and_outlives_the_daemons_unit(inside, ask):
    scope, pid = ask(
        "pid = driver.status('scout').pid\n"
        "print(any(f'hive-agents.slice/{unit}' in line for line in open(f'/proc/{pid}/cgroup')), pid)"
    ).split()
    assert scope == "True"
    inside("systemctl", "kill", "--signal=SIGKILL", "daemon")
    inside("systemctl", "stop", "daemon")
    assert inside("systemctl", "is-active", "daemon") != "active"
    after = ask("print(driver.status('scout').pid, driver.stop('scout').exit_code, choose())")
    assert after.split() == [pid, "7", "nspawn"]
    assert "scope" not in inside("systemctl", "list-units", "--plain", "--no-legend", "hive-*-scout.scope")


FORGOTTEN = """
import psutil
for name in ("run.json", "status.jsonl", "run.lock"):
    (paths.run_dir("scout") / name).unlink()
try:
    driver.start(spec)
except DriverError:
    print("refused")
payload = lambda: [each for each in psutil.process_iter() if each.cmdline()[-1:] == [words]]
print(len(payload()) > 0)
driver.destroy("scout")
print(len(payload()))
"""


def test_its_scope_alone_is_enough_to_refuse_a_second_and_to_end_it(inside, ask):
    assert ask(FORGOTTEN).split() == ["refused", "True", "0"]
    assert "scope" not in inside("systemctl", "list-units", "--plain", "--no-legend", "hive-*-scout.scope")


# ---- an agent's part of the disk

UNIT = PROJECT / "docs" / "systemd" / "hyperhive.service"
# What forbids something. The checkout may lie below /tmp, which PrivateTmp= would hide.
HARD = ("NoNew", "Protect", "Lock", "Restrict", "SystemCall", "CapabilityBounding")
ROOM = """
room.furnish(room.of("scout"), 64 << 20)
note = paths.state_dir("scout") / "note"
print(note.read_text() if note.exists() else "nothing")
note.write_text("what the first one wrote")
"""


@pytest.mark.skipif(bool(room.probe()), reason=f"a room made by a hardened unit: {room.probe()}")
def test_a_hardened_unit_mounts_an_agents_part_where_systemd_has_it_and_the_next_one_finds_it(inside):
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith(HARD) and "Restart" not in line]
    script = f"import sys; sys.path.insert(0, {str(PROJECT)!r}){PRELUDE}{ROOM}".replace("/var/hive", "/var/lib/hive")
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--property=StateDirectory=hive"]
    command += [f"--property={line}" for line in lines]
    assert len(lines) > 12
    assert inside(*command, sys.executable, "-c", script, "bwrap") == "nothing"
    assert inside("grep", "-c", " /var/lib/hive/.* ext4 rw,nosuid,nodev", "/proc/1/mounts") == "2"
    assert inside(*command, sys.executable, "-c", script, "bwrap") == "what the first one wrote"
    inside("umount", "/var/lib/hive/agents/scout/state", "/var/lib/hive/homes/scout")
