"""What an agent in bwrap can and cannot do: its own user, no network but lo, nothing of anybody else."""

import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from lifecycle import isolation, paths, safe_fs
from lifecycle.drivers import DRIVERS, DriverError, bwrap
from lifecycle.drivers.cgroups import Nothing
from tests.lifecycle.conftest import logged

bwrap_works = pytest.mark.skipif(bool(DRIVERS["bwrap"].probe()), reason="bwrap does not work here")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
pytestmark = [pytest.mark.bwrap, bwrap_works]

driver = DRIVERS["bwrap"]


def says(spec) -> str:
    """What the payload printed until it ended."""
    driver.prepare(spec)
    driver.start(spec)
    status = driver.wait(spec.name, 20)
    assert status.state == "stopped"
    return driver.logs(spec.name)[0]


@root_only
def test_as_root_the_agent_is_a_user_of_its_own_without_any_right(agent):
    spec = agent("id -u; id -g; id -G; grep -E 'CapPrm|CapBnd|NoNewPrivs' /proc/self/status")
    uid = str(spec.uid)
    lines = says(spec).split("\n")
    assert lines[:3] == [uid, uid, uid]
    assert [line.split()[1] for line in lines[3:6]] == ["0" * 16, "0" * 16, "1"]


@root_only
def test_a_setuid_file_left_behind_is_useless_on_the_host(agent):
    spec = agent("cp /usr/bin/id /state/id; chmod 6755 /state/id; /state/id -u")
    assert says(spec).strip() == str(spec.uid)
    left = paths.state_dir("scout") / "id"
    assert (left.stat().st_uid, left.stat().st_mode & 0o6000) == (spec.uid, 0o6000)
    # Somebody else on the host who runs it is the agent then, never root; and the directory does not let them near it.
    given = Path(tempfile.mkdtemp()) / "id"
    given.parent.chmod(0o755)
    os.rename(left, given)
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    assert subprocess.check_output([*other, given, "-u"], text=True).strip() == str(spec.uid)
    given.unlink()
    given.parent.rmdir()
    assert subprocess.run([*other, "ls", paths.state_dir("scout")], capture_output=True).returncode != 0


def test_there_is_no_network_but_lo_and_lo_is_up(agent):
    python = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('lo')"
    said = says(
        agent(f'cat /proc/net/dev | tail -n +3 | cut -d: -f1; $HIVE_PYTHON -c "{python}"; getent hosts example.org')
    )
    assert said.split() == ["lo", "lo"]


def test_a_service_of_the_host_is_out_of_reach(agent):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        python = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {port})))"
        assert says(agent(f'$HIVE_PYTHON -c "{python}"')).strip() == "111"


def test_nothing_of_other_agents_and_of_the_host_is_there(agent, settings):
    other = agent(name="other")
    driver.prepare(other)
    (paths.state_dir("other") / "secret").write_text("other's")
    settings.HIVE_RUNTIME_DIR.joinpath("host.sock").write_text("")
    looked_for = [
        settings.HIVE_STATE_DIR,
        settings.HIVE_RUNTIME_DIR / "host.sock",
        settings.PROJECT,
        "/etc/shadow",
        "/home",
    ]
    said = says(
        agent(
            f"for f in {' '.join(map(str, looked_for))}; do test -e $f && echo $f; done; find / -name secret; echo end"
        )
    )
    assert [line for line in said.split("\n") if line and "Permission denied" not in line] == ["end"]


def test_processes_of_the_host_are_not_seen(agent):
    assert int(says(agent("ls -d /proc/[0-9]* | wc -l"))) < 8


def test_only_its_own_directories_and_scratch_can_be_written(agent):
    writable = "/state /workspace /root /root/.claude /var/lib/hive /tmp /dev/shm"
    shut = "/ /usr /etc /opt/hive /opt/hive/app /opt/hive/app/harness /run /run/hive /dev /var /proc/sys/kernel"
    said = says(agent(f"for d in {writable} {shut}; do touch $d/probe 2>/dev/null && echo $d; done;"))
    assert said.split("\n")[: len(writable.split())] == writable.split()
    assert not set(said.split()) & set(shut.split())


def test_what_it_writes_is_there_at_the_next_start_but_scratch_is_not(agent):
    assert says(agent("echo kept > /state/note; echo lost > /tmp/note")) == ""
    assert "kept" in says(agent("cat /state/note; cat /tmp/note"))
    assert "lost" not in driver.logs("scout")[0]


def test_the_interpreter_our_packages_and_django_are_there(agent):
    said = says(
        agent(
            "cd /; $HIVE_PYTHON -P -c 'import django, agents.cli, broker.wire; print(broker.wire.__file__, django.VERSION[0])'"
        )
    )
    assert said.split() == ["/opt/hive/app/broker/wire.py", "5"]


def test_the_claude_cli_runs_inside(agent):
    spec = agent()
    harness = type(spec)(spec.name, spec.role, spec.uid, spec.manager)
    argv = driver.argv(harness)
    assert argv[argv.index("--") :][-5:] == [bwrap.python(), "-P", "-m", "django", "harness"]
    place = argv[argv.index(bwrap.CLAUDE) - 1]
    driver.prepare(spec)
    wrapped = driver.argv(spec)
    wrapped[wrapped.index("--remount-ro") : wrapped.index("--remount-ro")] = ["--ro-bind", place, bwrap.CLAUDE]
    cut = wrapped.index("--json-status-fd")
    wrapped[cut : cut + 4] = []
    wrapped[-3:] = [bwrap.CLAUDE, "--version"]
    said = subprocess.run(wrapped, env=driver.env(spec), capture_output=True, text=True, timeout=60)
    assert "Claude Code" in said.stdout, said.stderr


def test_a_directory_of_the_agent_that_became_a_link_is_refused(agent, tmp_path):
    driver.prepare(agent())
    paths.state_dir("scout").rmdir()
    paths.state_dir("scout").symlink_to(tmp_path)
    with pytest.raises(DriverError, match="cannot be made"):
        driver.prepare(agent())


@root_only
def test_each_agents_files_are_its_own(agent):
    one, two = agent(name="one"), agent(name="two")
    for spec in (one, two):
        assert (
            says(type(spec)(spec.name, "agent", spec.uid, "hm1nd", command=("/bin/sh", "-c", "echo hi > /state/f")))
            == ""
        )
    assert (
        (paths.state_dir("one") / "f").stat().st_uid
        == one.uid
        != two.uid
        == (paths.state_dir("two") / "f").stat().st_uid
    )
    assert paths.state_dir("one").stat().st_mode & 0o777 == 0o700


def test_the_level_is_b_and_says_what_is_missing(places, monkeypatch, settings):
    settings.HIVE_AGENT_DISK_MAX = "10G"
    letter, missing = isolation.level("bwrap")
    assert letter == "B"
    assert any("no limit" in point for point in missing) == bool(driver.lacking())
    monkeypatch.setattr("lifecycle.drivers.local.cgroups", Nothing)
    letter, missing = isolation.level("bwrap")
    assert letter == "B"
    assert any("no limit on memory, CPU: " in point for point in missing), "prlimit bounds the processes"
    assert isolation.level("process")[0] == "D"
    assert isolation.needs_trust("D")
    assert not isolation.needs_trust("B")


PLAIN = """
import json, os, django; django.setup()
from lifecycle import isolation, paths
from lifecycle.drivers import DRIVERS, Spec
driver = DRIVERS["bwrap"]
words = '''id -u; cat /proc/net/dev | tail -n +3 | cut -d: -f1; touch /opt/hive/app/x /x 2>/dev/null && echo bad
echo kept > /state/f; echo ready; trap 'exit 7' TERM; sleep 60 & wait'''
spec = Spec("scout", "agent", 1900000001, "hm1nd", command=("/bin/sh", "-c", words))
driver.prepare(spec); pid = driver.start(spec).pid
import time
while "ready" not in driver.logs("scout")[0]: time.sleep(0.02)
alive = driver.status("scout").pid == pid
print(json.dumps([os.geteuid(), driver.probe(), alive, driver.logs("scout")[0].split(), driver.stop("scout").exit_code,
                  (paths.state_dir("scout") / "f").stat().st_uid, isolation.level("bwrap")[0]]))
"""


@root_only
def test_it_works_for_a_plain_user_too(settings):
    """Debian's own Python, for ours may lie in a home that is only root's."""
    site = Path(pytest.__file__).parent.parent
    usable = subprocess.run(
        ["/usr/bin/python3", "-c", "import pydantic_core"], env={"PYTHONPATH": str(site)}, capture_output=True
    )
    if usable.returncode:
        pytest.skip("/usr/bin/python3 cannot use the packages of this environment")
    home = tempfile.mkdtemp(prefix="hive-plain-")
    os.chown(home, 65534, 65534)
    env = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{settings.PROJECT}:{site}", "DJANGO_SETTINGS_MODULE": "hyperhive.settings",
        "HIVE_STATE_DIR": f"{home}/state", "HIVE_RUNTIME_DIR": f"{home}/run", "HOME": home, "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(
        [*user, "/usr/bin/python3", "-c", PLAIN], env=env, capture_output=True, text=True, timeout=60, cwd="/"
    )
    subprocess.run(["rm", "-rf", home], check=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [65534, "", True, ["1000", "lo", "ready"], 7, 65534, "B"]


def test_a_running_agent_sees_sockets_that_appear_later(agent):
    """The directory is bound, so a daemon that comes back makes its sockets anew in it."""
    spec = agent(
        "echo ready; while ! test -e /run/hive/mcp.sock; do sleep 0.05; done; echo seen; rm /run/hive/mcp.sock"
    )
    driver.prepare(spec)
    driver.start(spec)
    logged(driver, "scout", "ready")
    (paths.socket_dir("scout", "agent") / "mcp.sock").write_text("")
    assert "seen" in logged(driver, "scout", "seen")
    driver.wait("scout", 10)
    assert (paths.socket_dir("scout", "agent") / "mcp.sock").exists()


# ---- the manager's /agents


def test_the_manager_edits_every_proposed_repository_also_of_agents_to_come(agent, places):
    """And nothing else of them; where it is a user of its own, it cannot even rename their directories."""
    words = "echo ready; until touch /agents/late/config/f 2>/dev/null; do sleep 0.05; done; ls /agents"
    words += "; mv /agents/late /agents/mine 2>/dev/null && echo moved; echo end"
    spec = agent()
    manager = type(spec)("hm1nd", "manager", spec.uid + 1, "hm1nd", command=("/bin/sh", "-c", words))
    driver.prepare(manager)
    driver.start(manager)
    logged(driver, "hm1nd", "ready")
    safe_fs.give(paths.config_dir("late"), driver.owner(manager))
    said = logged(driver, "hm1nd", "end").split()
    assert said == ["ready", "late", *([] if os.geteuid() == 0 else ["moved"]), "end"]
    assert (paths.config_dir("late") / "f").exists() or os.geteuid()
    assert not [line for line in driver.argv(agent()) if "/proposed" in line], "no other container is given any of it"


def test_an_agent_has_no_agents_directory(agent):
    assert says(agent("ls -d /agents; echo end")).splitlines()[-1] == "end"
