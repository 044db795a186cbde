"""What every local driver must do: start once, be taken up again, end verified, tell the truth about it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

from broker.models import boot_id
from lifecycle import cli, paths
from lifecycle.drivers import DRIVERS, DriverError, choose
from lifecycle.drivers.cgroups import Nothing
from lifecycle.drivers.launch import identity
from lifecycle.drivers.run import Run, ended, holders
from tests.lifecycle.conftest import DEAF, POLITE, logged, until

pytestmark = [pytest.mark.bwrap]


@pytest.fixture(params=["nspawn", "bwrap", "process"])
def driver(request, places):
    driver = DRIVERS[request.param]
    if missing := driver.probe():
        pytest.skip(missing)
    return driver


def begun(driver, spec):
    driver.prepare(spec)
    return driver.start(spec)


def elsewhere(places, words: str) -> str:
    """What a fresh process prints, to which the agents were never children."""
    prelude = (
        "import django; from django.conf import settings; django.setup(); from pathlib import Path; "
        f"settings.HIVE_STATE_DIR = Path({str(places / 'state')!r}); settings.HIVE_RUNTIME_DIR = Path({str(places / 'rt')!r}); "
        "from lifecycle.drivers import DRIVERS; "
    )
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", prelude + words], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_start_is_seen_and_a_second_one_changes_nothing(driver, agent):
    first = begun(driver, agent())
    assert (first.state, first.watched, first.exit_code) == ("running", True, None)
    assert driver.start(agent()) == first
    assert driver.list() == ["scout"]


def test_a_start_in_another_way_is_refused_while_it_runs(driver, agent):
    begun(driver, agent())
    with pytest.raises(DriverError, match="restart it"):
        driver.start(agent("sleep 5"))
    assert driver.update(agent("sleep 5")) is True
    assert driver.update(agent()) is False


def test_a_stop_lets_it_end_in_good_order_and_keeps_its_exit_code(driver, agent):
    begun(driver, agent())
    logged(driver, "scout", "ready")
    assert driver.stop("scout").exit_code == 7
    assert driver.status("scout").state == "stopped"
    assert driver.stop("scout").exit_code == 7
    assert driver.list() == []


def test_what_was_never_there_is_absent_and_can_be_stopped(driver, places):
    assert driver.status("nobody").state == "absent"
    assert driver.stop("nobody").state == "absent"
    driver.destroy("nobody")
    assert driver.logs("nobody") == ("", 0)
    assert driver.watch("nobody") is None


def test_one_that_ignores_the_request_is_killed(driver, agent):
    status = begun(driver, agent(DEAF))
    logged(driver, "scout", "ready")
    begin = time.monotonic()
    assert driver.stop("scout", grace=0.3).exit_code == 137
    assert time.monotonic() - begin < 5
    assert identity(status.pid) is None


def test_a_grandchild_in_a_session_of_its_own_goes_too(driver, agent):
    """Started by Python, as the harness starts claude: it holds no descriptor of ours by which it could be found."""
    marker = f"31.{os.getpid()}"
    deaf = f"trap '' TERM; while :; do sleep {marker}; done"
    python = f'import subprocess; subprocess.Popen(["sh", "-c", """{deaf}"""], start_new_session=True)'
    begun(driver, agent(f"$HIVE_PYTHON -c {shlex.quote(python)}; {POLITE}"))
    logged(driver, "scout", "ready")
    until(lambda: sleeping(marker))
    assert driver.stop("scout").exit_code == 7
    assert not sleeping(marker)


def sleeping(marker: str) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", marker]]


def test_an_exit_of_its_own_is_noticed_with_its_code(driver, agent):
    begun(driver, agent("exit 3"))
    assert driver.wait("scout", 10).exit_code == 3
    assert driver.status("scout").state == "stopped"


def test_a_death_by_signal_is_told_as_one(driver, agent):
    pid = begun(driver, agent(DEAF)).pid
    logged(driver, "scout", "ready")
    os.kill(pid, signal.SIGKILL)
    assert driver.wait("scout", 10).exit_code == 137


def test_a_descriptor_tells_its_end(driver, agent):
    begun(driver, agent("sleep 0.3"))
    fd = driver.watch("scout")
    try:
        until(lambda: ended(fd, 0))
    finally:
        os.close(fd)
    assert driver.status("scout").state == "stopped"


def test_it_is_taken_up_from_a_fresh_process_and_stopped_there(driver, agent, places):
    pid = begun(driver, agent()).pid
    logged(driver, "scout", "ready")
    assert elsewhere(places, f"print(DRIVERS[{driver.name!r}].status('scout').pid)") == str(pid)
    assert elsewhere(places, f"print(DRIVERS[{driver.name!r}].stop('scout').exit_code)") == "7"
    assert driver.status("scout").exit_code == 7


def test_it_outlives_the_process_and_the_thread_that_started_it(driver, agent, places):
    driver.prepare(agent())
    command = ("/bin/sh", "-c", POLITE)
    spec = (
        f"from lifecycle.drivers import Spec; s = Spec('scout', 'agent', {agent().uid}, 'hm1nd', command={command!r}); "
    )
    start = (
        f"import threading; t = threading.Thread(target=DRIVERS[{driver.name!r}].start, args=(s,)); t.start(); t.join()"
    )
    elsewhere(places, spec + start)
    assert driver.status("scout").running
    assert psutil.Process(driver.status("scout").pid).ppid() != os.getpid()


def test_kill_of_the_outer_process_is_noticed_and_the_agent_still_ended(driver, agent):
    pid = begun(driver, agent(DEAF)).pid
    logged(driver, "scout", "ready")
    outer = json.loads((paths.run_dir("scout") / "run.json").read_text())["outer"]["pid"]
    os.kill(outer, signal.SIGKILL)
    until(lambda: not driver.status("scout").watched)
    assert driver.status("scout").running
    with pytest.raises(DriverError):
        driver.start(agent("sleep 5"))
    assert driver.stop("scout", 0.1).exit_code is None
    assert identity(pid) is None


@pytest.mark.parametrize("forged", ["pid of another", "start time", "boot"])
def test_a_pid_that_is_somebody_elses_is_refused(driver, agent, forged):
    begun(driver, agent("exit 0"))
    driver.wait("scout", 10)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        record = json.loads((paths.run_dir("scout") / "run.json").read_text())
        real = identity(bystander.pid)
        record |= {
            "pid of another": {
                "init": {"pid": bystander.pid, "start": record["init"]["start"] if record["init"] else 1}
            },
            "start time": {"init": real | {"start": real["start"] + 1}},
            "boot": {"init": real, "boot": "0" * 36},
        }[forged]
        (paths.run_dir("scout") / "run.json").write_text(json.dumps(record))
        assert driver.status("scout").state == "stopped"
        driver.stop("scout", 0.1)
        driver.kill("scout")
        assert bystander.poll() is None
        # The test can fail: the very same record with the truth in it is taken up.
        (paths.run_dir("scout") / "run.json").write_text(json.dumps(record | {"init": real, "boot": boot_id()}))
        assert driver.status("scout").running
    finally:
        (paths.run_dir("scout") / "run.json").unlink()
        bystander.kill()
        bystander.wait()


def test_a_crash_before_run_json_is_written_loses_nobody(driver, agent):
    pid = begun(driver, agent()).pid
    logged(driver, "scout", "ready")
    (paths.run_dir("scout") / "run.json").unlink()
    assert driver.status("scout").pid == pid
    with pytest.raises(DriverError):
        driver.start(agent("sleep 5"))
    assert driver.stop("scout").exit_code == 7
    assert identity(pid) is None


def test_the_lock_alone_is_enough_to_find_and_end_it(driver, agent):
    pid = begun(driver, agent(DEAF)).pid
    logged(driver, "scout", "ready")
    for name in ("run.json", "status.jsonl"):
        (paths.run_dir("scout") / name).unlink()
    assert driver.status("scout").running
    with pytest.raises(DriverError):
        driver.start(agent(DEAF + ";"))
    driver.kill("scout")
    assert identity(pid) is None
    assert not Run(paths.run_dir("scout")).locked()
    assert holders(paths.run_dir("scout") / "run.lock") == []


def test_a_log_that_grows_too_long_is_begun_anew_while_it_goes_on(driver, agent):
    words = "head -c 9000000 /dev/zero | tr '\\0' x; echo ready; while :; do sleep 0.1; echo on; done"
    begun(driver, agent(words))
    log = paths.run_dir("scout") / "log"
    until(lambda: log.stat().st_size > 9_000_000)
    assert driver.trim("scout")
    until(lambda: "on" in driver.logs("scout", 0)[0])
    assert log.stat().st_size < 100_000
    assert "xxx" in log.with_name("log.1").read_text()
    assert not driver.trim("scout")
    assert "on" in driver.logs("scout")[0]


def test_its_log_is_read_in_pages_and_from_its_end(driver, agent):
    begun(driver, agent("seq 1 2000"))
    driver.wait("scout", 10)
    first, following = driver.logs("scout", 0, 100)
    assert (len(first), following) == (100, 100)
    second, following = driver.logs("scout", following, 1 << 20)
    assert (first + second).split() == [str(n) for n in range(1, 2001)]
    assert driver.logs("scout", following) == ("", following)
    assert driver.logs("scout", most=5)[0] == "2000\n"
    assert driver.logs("scout", after=1 << 30, most=4)[0] == "1\n2\n"


def test_what_it_cannot_honour_it_refuses_by_name(driver, agent, monkeypatch):
    monkeypatch.setattr("lifecycle.drivers.local.cgroups", Nothing)
    with pytest.raises(DriverError, match="cannot honour memory_max, packages"):
        driver.prepare(agent(memory_max="1G", packages=["jq"]))


def test_agent_json_is_what_the_harness_reads(driver, agent, settings):
    settings.HIVE_MODEL_URL = "http://127.0.0.1:9"
    driver.prepare(agent(model="opus", env={"TOKEN": "secret"}))
    read = json.loads(paths.agent_file("scout").read_text())
    assert read["config"].pop("idle_timeout") == settings.HIVE_IDLE_TIMEOUT
    assert read == {
        "schema": 1, "name": "scout", "role": "agent", "manager": "hm1nd", "model_url": "relay",
        "config": {
            "model": "opus", "prompt": "", "tools": ["Read", "Edit", "Write", "Glob", "Grep", "Bash"],
            "turn_timeout": settings.HIVE_TURN_TIMEOUT, "max_budget_usd": None, "env": {"TOKEN": "secret"},
        },
    }  # fmt: skip
    assert paths.agent_file("scout").stat().st_mode & 0o007 == 0


def test_no_secret_stands_in_an_argv(driver, agent):
    spec = agent(env={"TOKEN": "hush-hush"})
    assert "hush-hush" not in json.dumps(driver.argv(spec)) + json.dumps(driver.env(spec))


def test_without_a_claude_cli_nothing_is_prepared(driver, agent, settings, tmp_path):
    settings.HIVE_CLAUDE = str(tmp_path / "nowhere")
    harness = agent().__class__("scout", "agent", agent().uid, "hm1nd")
    with pytest.raises(DriverError, match="HIVE_CLAUDE names .* run bin/setup"):
        driver.prepare(harness)


def test_a_cli_that_is_too_old_is_refused(settings, tmp_path):
    old = tmp_path / "claude"
    old.write_text("#!/bin/sh\necho '2.1.10 (Claude Code)'\n")
    old.chmod(0o755)
    settings.HIVE_CLAUDE = str(old)
    with pytest.raises(cli.NoClaude, match=r"2\.1\.10, older than .* run bin/setup"):
        cli.usable()
    assert re.search("older than", cli.warning())


def test_the_best_driver_is_chosen_and_an_unknown_one_refused():
    assert choose() == next(name for name, each in DRIVERS.items() if each.by_default() and not each.probe())
    assert choose("process") == "process"
    with pytest.raises(DriverError, match="No driver is called 'podman'"):
        choose("podman")
