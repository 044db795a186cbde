"""Limits that hold: against bombs that are real, in the cgroups that this machine has, and as systemd is asked for them."""

import os
import time
from pathlib import Path

import pytest

from lifecycle import paths
from lifecycle.config import AgentConfig
from lifecycle.drivers import DRIVERS, DriverError, cgroups
from lifecycle.drivers.cgroups import Directories, Limits, Nothing, Scopes
from tests.lifecycle.conftest import DEAF, logged

here = cgroups.cgroups()
real = pytest.mark.skipif(bool(here.lacking()), reason=f"the bombs: no cgroup limits {here.lacking()} on this machine")


@pytest.fixture(params=["nspawn", "bwrap", "process"])
def driver(request, places):
    driver = DRIVERS[request.param]
    if missing := driver.probe():
        pytest.skip(f"the limits of {request.param}: {missing}")
    return driver


def run(driver, spec) -> tuple[str, int | None]:
    driver.prepare(spec)
    driver.start(spec)
    return driver.logs("scout")[0] if driver.wait("scout", 40).running else "", driver.wait("scout", 0).exit_code


@real
def test_a_memory_bomb_ends_at_the_limit(driver, agent):
    bomb = "$HIVE_PYTHON -c 'a = bytearray(1 << 30); print(len(a))'; echo $?"
    run(driver, agent(bomb, memory_max="100M"))
    assert "137" in driver.logs("scout")[0]
    assert str(1 << 30) not in driver.logs("scout")[0]
    run(driver, agent(bomb.replace("1 << 30", "1 << 24"), memory_max="100M"))
    assert str(1 << 24) in driver.logs("scout")[0], "what stays below is left alone"


@real
def test_a_file_in_memory_counts_too(driver, agent):
    if driver.name == "process":
        pytest.skip("driver process has no tmpfs of its own")
    run(driver, agent("head -c 500M /dev/zero > /tmp/fill; stat -c %s /tmp/fill", memory_max="100M"))
    sizes = [int(word) for word in driver.logs("scout")[0].split() if word.isdigit()]
    assert all(size < 200 << 20 for size in sizes)


FORK = """
import os, time
born = 0
try:
    while born < 300:
        if os.fork() == 0:
            time.sleep(600)
        born += 1
except OSError as error:
    print("bounded", born, error.errno, flush=True)
time.sleep(600)
"""


@real
def test_a_fork_bomb_ends_at_the_limit_and_all_of_it_is_ended(driver, agent, tmp_path):
    driver.prepare(spec := agent(f'$HIVE_PYTHON -c "{FORK}"'.replace('"bounded"', "'bounded'"), tasks_max=40))
    driver.start(spec)
    said = logged(driver, "scout", "bounded").split()
    assert 20 < int(said[1]) < 40
    assert said[2] == "11"
    driver.kill("scout")
    assert not Directories(here.hierarchies).members("scout") if isinstance(here, Directories) else True


@real
def test_a_busy_loop_gets_its_share_and_no_more(driver, agent):
    loop = "import os, time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(sum(os.times()[:2]))"
    run(driver, agent(f'$HIVE_PYTHON -c "{loop}"', cpu_quota="20%"))
    assert float(driver.logs("scout")[0].split()[-1]) < 1.2


@real
def test_limits_that_change_make_another_container_and_the_default_is_the_hives(driver, agent, settings):
    assert driver.fingerprint(agent(memory_max="1G")) != driver.fingerprint(agent(memory_max="2G"))
    before = driver.fingerprint(agent())
    settings.HIVE_AGENT_TASKS_MAX = 99
    assert driver.fingerprint(agent()) != before
    driver.prepare(agent())
    driver.start(agent(DEAF))
    assert driver.update(agent(DEAF, tasks_max=50)) is True, "an update says that it has to be started anew"


def test_sizes_and_shares_are_read_as_systemd_reads_them(settings):
    read = AgentConfig.read({"memory_max": "2G", "cpu_quota": "150%", "tasks_max": 7})
    assert cgroups.limits(read) == Limits(2 << 30, 150, 7)
    assert cgroups.limits(AgentConfig.read({"memory_max": "4096"})).memory == 4096
    assert cgroups.limits(AgentConfig()) == Limits(4 << 30, 200, 2048)


@pytest.mark.skipif(
    os.geteuid() != 0 or not isinstance(here, Directories), reason="directories of root's own: not here"
)
def test_a_cgroup_is_made_limited_refused_while_in_use_and_removed_with_all_in_it(places):
    procs = here.make("scout", Limits(64 << 20, 50, 20))
    pid = os.fork()
    if not pid:
        time.sleep(600)
        os._exit(0)
    for file in procs:
        Path(file).write_text(str(pid))
    assert here.members("scout") == {pid}
    with pytest.raises(DriverError, match="still runs"):
        here.make("scout", Limits(64 << 20, 50, 20))
    # As nspawn does, and a container could: a cgroup below.
    Path(procs[0]).with_name("below").mkdir()
    killed = os.fork()
    if not killed:
        os._exit(0)
    os.waitpid(killed, 0)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    here.end("scout")
    assert not [place for place in cgroups.ROOT.rglob(paths.unit("scout"))]
    here.end("scout")


def test_on_v2_the_same_words_go_into_its_files(places, tmp_path):
    """By contract: this machine may have v1 alone (cgroup v2, cgroups(7), Documentation/admin-guide/cgroup-v2.rst)."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    directories = Directories(dict.fromkeys(("memory", "cpu", "pids"), tmp_path))
    words = [word for name in ("memory", "cpu", "pids") for word in directories._words(name, Limits(1 << 20, 150, 7))]
    assert words == [
        ("memory.max", 1 << 20), ("memory.swap.max", 0), ("cpu.max", "150000 100000"), ("pids.max", 7),
    ]  # fmt: skip
    assert directories._places("scout") == [tmp_path / paths.unit("scout")]


def test_systemd_is_asked_for_a_scope_of_its_own_with_its_limits(places):
    command = Scopes(frozenset(("memory", "cpu", "pids"))).command("scout", Limits(1 << 20, 150, 7))
    assert command[-1] == "--" or os.geteuid()
    assert f"--unit={paths.unit('scout')}.scope" in command
    for word in ("--scope", "--collect", "--slice=hive-agents.slice", "--property=MemoryMax=1048576",
                 "--property=CPUQuota=150%", "--property=TasksMax=7", "--property=Delegate=yes"):  # fmt: skip
        assert word in command


def test_without_cgroups_bwrap_still_bounds_the_number_of_processes(agent, monkeypatch):
    if DRIVERS["bwrap"].probe() or os.geteuid() != 0:
        pytest.skip("bwrap as root does not work here")
    monkeypatch.setattr("lifecycle.drivers.local.cgroups", Nothing)
    monkeypatch.setattr("lifecycle.drivers.bwrap.cgroups", Nothing)
    driver = DRIVERS["bwrap"]
    driver.prepare(spec := agent(f'$HIVE_PYTHON -c "{FORK}"'.replace('"bounded"', "'bounded'"), tasks_max=40))
    driver.start(spec)
    assert 20 < int(logged(driver, "scout", "bounded").split()[1]) < 40
    with pytest.raises(DriverError, match="cannot honour memory_max"):
        driver.prepare(agent(memory_max="1G", tasks_max=5))
