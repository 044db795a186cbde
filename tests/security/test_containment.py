"""A hostile agent in a real container of each driver gets nothing; the same attempts without walls get everything."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .houses import HOUSES, OPEN, SECRET, Answering, House

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120)]

# What nobody but root can do even without walls.
ROOTS = {"mknod", "mount", "chattr", "sysctl", "sysfs"}
VICTIM = "hive-victim"
SETTINGS = {"sysctl": "/proc/sys/kernel/core_pattern", "sysfs": "/sys/kernel/mm/transparent_hugepage/enabled"}
NIX = "/nix/var/nix/daemon-socket/socket"


class World:
    """What the host has that no agent may reach."""

    def __init__(self) -> None:
        self.name = f"hive-{secrets.token_hex(6)}"
        self.doors = {
            "abstract": Answering(socket.AF_UNIX, f"\0{self.name}"),
            "v4": Answering(socket.AF_INET, ("0.0.0.0", 0)),
        }
        if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
            self.doors["v6"] = Answering(socket.AF_INET6, ("::1", 0))
        self.marker = f"{VICTIM}-{secrets.token_hex(6)}"
        self.victim = self.raised()

    def raised(self) -> subprocess.Popen:
        command = [sys.executable, "-c", "import time; time.sleep(600)", self.marker]
        return subprocess.Popen(command)

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for door in self.doors.values():
            door.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture(scope="module", params=HOUSES)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with House(request.param, HOUSES[request.param]) as house:
        yield house


@pytest.fixture(scope="module")
def open_house() -> Iterator[House]:
    with House("no walls", OPEN) as house:
        yield house


def attempts(world: World, house: House) -> dict[str, tuple[str, dict[str, Any]]]:
    """What is tried -> the probe and what it is given."""
    inside, other = house.agents["scout"]["inside"], house.agents["other"]
    pid = {"pid": world.victim.pid, "marker": world.marker}
    nix = NIX if house.plan != OPEN else str(house.other_sock)
    found: dict[str, tuple[str, dict[str, Any]]] = {
        "mknod": ("mknod", {"state": inside}),
        "mount": ("mount", {"state": inside}),
        "chattr": ("chattr", {"state": inside}),
        "abstract socket": ("abstract", {"name": world.name}),
        "another agent's socket": ("unix", {"paths": [str(house.other_sock), "/run/hive/../agents/other/mcp.sock"]}),
        "host.sock": ("unix", {"paths": [str(house.host_sock), "/run/hive/../host.sock", "/run/hyperhive/host.sock"]}),
        "nix daemon": ("unix", {"paths": [nix]}),
        "ptrace": ("ptrace", pid),
        "processes outside": ("seen", {"marker": world.marker}),
    }
    for place in ("state", "home", "journal"):
        found[f"another agent's {place}"] = ("read", {"paths": [f"{other[place]}/secret"]})
    for name, path in SETTINGS.items():
        found[name] = ("write_same", {"path": path})
    for name, host in (("127.0.0.1", "v4"), ("localhost", "v4"), (socket.gethostname(), "v4"), ("::1", "v6")):
        if host in world.doors:
            label = "host name" if name == socket.gethostname() else name
            found[f"host network by {label}"] = ("tcp", {"host": name, "port": world.doors[host].at[1]})
    # Last: it ends what the others need.
    found["signal"] = ("kill", pid)
    return found


NAMES = (
    "mknod", "mount", "chattr", "abstract socket", "host network by 127.0.0.1", "host network by localhost",
    "host network by host name", "host network by ::1", "another agent's socket", "another agent's state",
    "another agent's home", "another agent's journal", "host.sock", "nix daemon", "sysctl", "sysfs", "ptrace",
    "processes outside", "signal",
)  # fmt: skip


def entered(house: House, name: str) -> None:
    """Or one line that says what is left out."""
    if house.missing:
        pytest.skip(f"{house.name}: {name} is not tried: {house.missing}")


def attempt(world: World, house: House, name: str) -> dict[str, Any]:
    entered(house, name)
    known = attempts(world, house)
    if name not in known:
        pytest.skip(f"{house.name}: {name} is not tried: this machine has no IPv6")
    probe, params = known[name]
    if probe == "write_same" and not Path(params["path"]).exists():
        pytest.skip(f"{house.name}: {name} is not tried: there is no {params['path']}")
    return house.tries(probe, **params)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_agent_gets_nothing_by(house: House, world: World, name: str) -> None:
    assert attempt(world, house, name)["gained"] is None
    assert world.victim.poll() is None


@pytest.mark.parametrize("name", NAMES)
def test_without_walls_it_gets_what_it_wants_by(open_house: House, world: World, name: str) -> None:
    if name in ROOTS and os.geteuid() != 0:
        pytest.skip(f"no walls: {name} is not tried: it needs root")
    answer = attempt(world, open_house, name)
    assert answer["gained"], answer["why"]
    if name == "chattr":
        subprocess.run(["chattr", "-i", answer["gained"]], check=True)
    if name == "signal":
        world.victim.wait(10)
        world.victim = world.raised()


# ---- a file left behind


def run_by_another(path: Path) -> str:
    """The user that the file makes of whoever runs it, should they get at it; by its path they do not."""
    file = os.open(path, os.O_RDONLY)
    # By way of a shell: setpriv itself still has root's right to pass every directory.
    shell = ["sh", "-c", 'exec "$0" -u']
    nobody = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"] if os.geteuid() == 0 else []
    by_path = subprocess.run([*nobody, *shell, path], capture_output=True)
    done = subprocess.run([*nobody, *shell, f"/proc/self/fd/{file}"], capture_output=True, text=True, pass_fds=(file,))
    os.close(file)
    assert not nobody or by_path.returncode == 126, "its path is open to everybody"
    return done.stdout.strip()


def left(house: House) -> Path:
    entered(house, "setuid file")
    assert house.tries("setuid", state=house.agents["scout"]["inside"])["gained"]
    return Path(house.agents["scout"]["state"]) / "setuid"


def test_a_setuid_file_is_of_no_use_on_the_host(house: House) -> None:
    """It makes nobody root, nor anybody else where it lies in a room (nosuid), and only root and its owner get near it."""
    path = left(house)
    assert path.stat().st_uid == house.agents["scout"]["uid"] != 0
    nosuid = os.statvfs(path).f_flag & os.ST_NOSUID
    assert run_by_another(path) == ("65533" if nosuid else str(path.stat().st_uid))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="no walls: setuid file is not tried: it needs root")
def test_without_walls_a_setuid_file_makes_anybody_root(open_house: House) -> None:
    assert run_by_another(left(open_house)) == "0"


# ---- bombs


BOMBS = {
    "fork bomb": ("forks", {"most": 300}, {"tasks_max": 100}),
    "memory bomb": ("memory", {"most": 400 << 20}, {"memory_max": "160M"}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_meets_its_limit(house: House, name: str) -> None:
    entered(house, name)
    probe, params, limit = BOMBS[name]
    if cannot := house.limited(probe, **limit):
        pytest.skip(f"{house.name}: {name} is not tried: {cannot}")
    assert house.tries(probe, agent=probe, **params)["gained"] is None
    assert house.tries("seen", agent=probe, marker="prober.py")["gained"], "the agent itself goes on"


@pytest.mark.parametrize("name", BOMBS)
def test_without_a_limit_a_bomb_goes_off(open_house: House, name: str) -> None:
    entered(open_house, name)
    probe, params, _ = BOMBS[name]
    assert open_house.tries(probe, **params)["gained"]


SCRATCH = ("/tmp", "/dev/shm", "/root")


@pytest.mark.parametrize("place", SCRATCH)
def test_what_lives_in_the_hosts_memory_is_full_in_time(house: House, place: str) -> None:
    """The quota that a driver gives each: at most a gigabyte, of which the test takes a part for as long as it needs."""
    entered(house, f"filling {place}")
    answer = house.tries("disk", place=place, most=(1 << 30) + (1 << 26))
    assert answer["gained"] is None
    assert "No space left" in answer["why"]


def test_without_a_quota_the_disk_is_filled(open_house: House) -> None:
    entered(open_house, "filling the disk")
    answer = open_house.tries("disk", place=open_house.agents["scout"]["inside"], most=(1 << 30) + (1 << 26))
    assert answer["gained"], answer["why"]


# All that an agent can write to and that is not its memory.
KEPT = ("/state", "/workspace", "/root/.claude", "/var/lib/hive")


@pytest.mark.parametrize("place", KEPT)
def test_the_disk_is_full_at_an_agents_quota(house: House, place: str) -> None:
    """64 MiB for all of them together; another agent's part is its own."""
    entered(house, f"filling {place}")
    if cannot := house.limited("disk", disk_max="64M"):
        pytest.skip(f"{house.name}: filling {place} is not tried: {cannot}")
    answer = house.tries("disk", agent="disk", place=place, most=96 << 20)
    assert answer["gained"] is None
    assert "No space left" in answer["why"]
    assert house.tries("disk", place=place, most=32 << 20)["gained"], "another one has its own"


def test_a_log_meets_its_limit(house: House) -> None:
    """It is the host's file, so as long as any other file of the agent's may be, and no longer."""
    entered(house, "filling its log")
    answer = house.tries("log", most=96 << 20)
    assert answer["gained"] is None
    assert "File too large" in answer["why"]


def test_without_a_limit_a_log_grows(open_house: House) -> None:
    entered(open_house, "filling its log")
    assert open_house.tries("log", most=96 << 20)["gained"]


def test_what_was_looked_for_is_there(house: House) -> None:
    """Its owner reads it by its name inside."""
    entered(house, "reading its own state")
    other = house.agents["other"]
    assert house.tries("read", agent="other", paths=[f"{other['inside']}/secret"])["gained"] == SECRET
