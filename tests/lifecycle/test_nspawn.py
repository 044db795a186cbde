"""What an agent in nspawn can and cannot do, and that nothing of it is left whoever of its processes is killed first."""

import json
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from lifecycle import isolation, paths, room, safe_fs
from lifecycle.drivers import DRIVERS, DriverError
from lifecycle.drivers.cgroups import ROOT, Nothing, cgroups
from lifecycle.drivers.launch import identity
from tests.lifecycle.conftest import DEAF, logged, until

driver = DRIVERS["nspawn"]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(driver.probe()), reason=f"what an agent in nspawn can and cannot do: {driver.probe()}"),
]


def says(spec) -> str:
    """What the payload printed until it ended."""
    driver.prepare(spec)
    driver.start(spec)
    assert driver.wait(spec.name, 30).state == "stopped"
    return driver.logs(spec.name)[0]


def ready(spec):
    driver.prepare(spec)
    driver.start(spec)
    logged(driver, spec.name, "ready")
    return driver.status(spec.name)


def outer(name: str = "scout") -> psutil.Process:
    """The monitor; nspawn is its child."""
    return psutil.Process(json.loads((paths.run_dir(name) / "run.json").read_text())["outer"]["pid"])


def left_of(name: str = "scout") -> list[Path]:
    machine = paths.unit(name)
    return [*ROOT.rglob(machine), *Path("/run/systemd/nspawn").rglob(machine)]


# ---- the walls


def test_it_is_the_only_user_of_its_namespace_and_has_no_right_at_all(agent):
    spec = agent("id -u; cat /proc/self/uid_map; grep -E 'CapPrm|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status")
    lines = says(spec).splitlines()
    assert (lines[0], lines[1].split()) == ("0", ["0", str(spec.uid), "1"])
    assert [line.split()[1] for line in lines[2:6]] == ["0" * 16, "0" * 16, "1", "2"]


def test_a_setuid_file_left_behind_is_useless_on_the_host(agent):
    spec = agent("cp /usr/bin/id /state/id; chmod 6755 /state/id; /state/id -u")
    assert says(spec).strip() == "0", "its own nought, which is nobody outside"
    left = paths.state_dir("scout") / "id"
    assert (left.stat().st_uid, left.stat().st_gid, left.stat().st_mode & 0o6000) == (spec.uid, spec.uid, 0o6000)
    given = Path(tempfile.mkdtemp()) / "id"
    given.parent.chmod(0o755)
    os.rename(left, given)
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    assert subprocess.check_output([*other, given, "-u"], text=True).strip() == str(spec.uid)
    given.unlink()
    given.parent.rmdir()
    assert subprocess.run([*other, "ls", paths.state_dir("scout")], capture_output=True).returncode != 0


def test_nothing_of_the_kernel_is_its_to_change(agent):
    tries = {
        "sys": "echo x > /proc/sys/kernel/hostname",
        "trigger": "echo h > /proc/sysrq-trigger",
        "device": "mknod /state/zero c 1 5",
        "mount": "mount -t tmpfs none /state",
        "namespace": "unshare --user --map-root-user --mount mount -t tmpfs none /state",
        "flag": "touch /state/f; chattr +i /state/f",
        "owner": "touch /state/g; chown 1 /state/g",
        "cgroup": f"echo max > /sys/fs/cgroup/pids/{paths.unit('scout')}/pids.max || echo 1 > /sys/fs/cgroup/pids/cgroup.procs",
    }
    words = "; ".join(f"if ({words}) 2>/dev/null; then echo {name}; fi" for name, words in tries.items())
    assert says(agent(f"{words}; echo end")).split() == ["end"]


def test_there_is_no_network_but_lo_and_no_service_of_the_host(agent):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        python = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); "
            f"print('lo', socket.socket().connect_ex(('127.0.0.1', {port})))"
        )
        said = says(agent(f'cat /proc/net/dev | tail -n +3 | cut -d: -f1; $HIVE_PYTHON -c "{python}"'))
    assert said.split() == ["lo", "lo", "111"]


def test_an_abstract_socket_of_the_host_is_out_of_reach(agent):
    name = f"hive-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        python = f"import socket; print(socket.socket(socket.AF_UNIX).connect_ex(chr(0) + '{name}'))"
        assert says(agent(f'$HIVE_PYTHON -c "{python}"')).strip() == "111"


def test_nothing_of_other_agents_and_of_the_host_is_there(agent, settings):
    driver.prepare(agent(name="other"))
    (paths.state_dir("other") / "secret").write_text("other's")
    places = [settings.HIVE_STATE_DIR, settings.HIVE_RUNTIME_DIR, settings.PROJECT, "/etc/shadow", "/home", "/nix/var"]
    words = (
        f"for f in {' '.join(map(str, places))}; do test -e $f && echo $f; done; find / -xdev -name secret 2>/dev/null"
    )
    assert says(agent(f"{words}; ls -d /proc/[0-9]* | wc -l")).split()[:-1] == []
    assert int(driver.logs("scout")[0].split()[-1]) < 8, "only processes of its own"


def test_only_its_own_directories_and_what_lives_in_memory_can_be_written(agent):
    writable = "/state /workspace /root /root/.claude /var/lib/hive /tmp /dev/shm"
    shut = "/ /usr /etc /etc/hyperhive /opt/hive /opt/hive/app /opt/hive/app/harness /run/hive /var /var/lib /proc/sys/kernel"
    said = says(agent(f"for d in {writable} {shut}; do touch $d/probe 2>/dev/null && echo $d; done; echo end"))
    assert said.split() == [*writable.split(), "end"]
    assert not list(paths.run_dir("scout").rglob("probe"))


def test_what_it_writes_is_there_at_the_next_start_but_scratch_is_not(agent):
    assert says(agent("echo kept > /state/note; echo lost > /tmp/note")) == ""
    said = says(agent("cat /state/note; cat /tmp/note"))
    assert "kept" in said
    assert "lost" not in said


def test_a_path_with_a_colon_is_bound_as_it_is_written(agent, settings, places):
    settings.HIVE_STATE_DIR = places / "a:b c"
    settings.HIVE_STATE_DIR.mkdir(mode=0o711)
    says(agent("echo kept > /state/note"))
    assert (paths.state_dir("scout") / "note").read_text() == "kept\n"
    driver.destroy("scout")


def test_the_manager_edits_every_proposed_repository_also_of_agents_to_come(agent):
    words = "echo ready; until touch /agents/late/config/f 2>/dev/null; do sleep 0.05; done; ls /agents"
    words += "; mv /agents/late /agents/mine 2>/dev/null && echo moved; echo end"
    spec = agent()
    manager = type(spec)("hm1nd", "manager", spec.uid + 1, "hm1nd", command=("/bin/sh", "-c", words))
    ready(manager)
    safe_fs.give(paths.config_dir("late"), driver.owner(manager))
    assert logged(driver, "hm1nd", "end").split() == ["ready", "late", "end"]
    assert not [word for word in driver.argv(agent()) if "/proposed" in word], "no other container is given any of it"


# ---- who is killed first


def test_kill_of_nspawn_leaves_nobody(agent):
    pid = ready(agent(DEAF)).pid
    nspawn = outer().children()[0]
    assert nspawn.name() == "systemd-nspawn"
    nspawn.kill()
    assert driver.wait("scout", 10).exit_code == 137
    assert identity(pid) is None
    until(lambda: not left_of())


def test_killed_with_all_that_watches_it_it_is_still_found_and_ended(agent):
    pid = ready(agent(DEAF)).pid
    watchers = [outer(), *outer().children()]
    for watcher in watchers:
        watcher.kill()
    psutil.wait_procs(watchers, 10)
    assert driver.status("scout").pid == pid, "nobody watches, and it goes on"
    with pytest.raises(DriverError, match="restart it"):
        driver.start(agent("sleep 5"))
    assert driver.stop("scout", 0.1).state == "stopped"
    assert identity(pid) is None
    assert not left_of()


@pytest.mark.skipif(isinstance(cgroups(), Nothing), reason="finding an agent by its cgroup alone: there are none here")
def test_the_cgroup_alone_is_enough_to_find_and_end_it(agent):
    """No record, no lock, nobody above: what an agent could bring about that is bent on being forgotten."""
    pid = ready(agent(DEAF)).pid
    for watcher in (outer(), *outer().children()):
        watcher.kill()
    for name in ("run.json", "status.jsonl", "run.lock"):
        (paths.run_dir("scout") / name).unlink()
    assert driver.status("scout").state == "absent"
    with pytest.raises(DriverError, match="still runs|already"):
        driver.start(agent())
    assert identity(pid) is not None
    driver.destroy("scout")
    assert identity(pid) is None
    assert not left_of()


def test_nothing_is_left_on_the_host_after_a_stop(agent):
    ready(agent())
    assert isinstance(cgroups(), Nothing) or left_of()
    assert driver.stop("scout").exit_code == 7
    assert left_of() == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert os.fspath(paths.run_dir("scout")) not in mounts


def test_a_start_that_fails_says_why_and_leaves_nothing(agent):
    driver.prepare(agent())
    (driver_root := paths.run_dir("scout") / "root/etc/os-release").unlink()
    driver_root.parent.rename(driver_root.parent.with_name("gone"))
    with pytest.raises(DriverError, match="could not be started"):
        driver.start(agent())
    assert driver.status("scout").state != "running"
    assert not left_of()


def test_nspawn_that_is_asked_to_end_asks_its_agent(agent):
    """As systemd does with a scope at shutdown: every process of it hears SIGTERM."""
    ready(agent())
    watcher = outer()
    watcher.children()[0].send_signal(signal.SIGTERM)
    assert driver.wait("scout", 10).exit_code == 7


# ---- the level


def test_with_limits_the_level_is_a_and_without_b(places, monkeypatch, settings):
    letter, missing = isolation.level("nspawn")
    assert letter == "B"
    assert any("no limit on the disk" in point for point in missing)
    settings.HIVE_AGENT_DISK_MAX = "10G"
    assert isolation.level("nspawn") == ("A", []) or cgroups().lacking() or room.probe()
    monkeypatch.setattr("lifecycle.drivers.local.cgroups", Nothing)
    letter, missing = isolation.level("nspawn")
    assert letter == "B"
    assert "no limit on memory, CPU, processes" in missing[0]
    assert "run the daemon under systemd" in missing[0]
