"""`hive demo`, as a person runs it: the whole hive with the real CLI, and what is left of it afterwards (nothing)."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.cli import FLOOR, WANTED
from hyperhive.demo.temporary import leftovers

PROJECT = Path(__file__).resolve().parents[2]
PLACE = re.compile(r"/tmp/hive-demo-\w+")

pytestmark = [pytest.mark.claude, pytest.mark.timeout(300)]


def env(**more):
    """The person's: nothing of this test run's own hive."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HIVE_", "DJANGO_"))}
    return plain | more


def start(*args, **more):
    argv = [sys.executable, str(PROJECT / "manage.py"), "hive", "demo", *args]
    return subprocess.Popen(argv, env=env(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*args, **more):
    process = start(*args, **more)
    out, err = process.communicate(timeout=280)
    return process.returncode, out, err


def read_until(process, word):
    """Its stderr up to the line that holds `word`."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if word in line:
            break
    return "".join(lines)


def place(err):
    return Path(PLACE.search(err)[0])


def assert_nothing_is_left(err):
    assert "by force" not in err
    assert not place(err).exists()
    assert leftovers(place(err)) == []


@pytest.mark.bwrap
def test_the_tour_runs_to_its_end_by_itself():
    code, out, err = run("--exit", "--json", "--driver", "bwrap")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["agents"] == ["hm1nd", "scout"]
    assert summary["turns"] >= 4
    assert summary["messages"] >= 6
    assert summary["approvals"] == {"applied": 2, "rolled_back": 1}
    assert summary["cost_usd"] > 0
    assert (summary["driver"], summary["isolation"], summary["cli_version"]) == ("bwrap", "B", WANTED)
    assert list(summary["steps"].values()) == sorted(summary["steps"].values())
    assert err.count("✓") == len(summary["steps"]) == 27
    assert_told_in_order(err)
    assert_nothing_is_left(err)


def assert_told_in_order(err):
    """A change is committed, shown, approved, applied; the next is taken back, and hm1nd and the operator hear of both."""
    told = (
        "hm1nd commits to scout's proposed configuration",
        "request #2 waits for a yes: egress +docs.example.org",
        '+ egress = ["docs.example.org"]',
        "request #2 was approved by operator",
        "scout was rebuilt with #2 and says hello again",
        "hive → hm1nd: “Your request #2 (apply_commit scout) was approved by operator and applied",
        "request #3 waits for a yes: env +LD_TRACE_LOADED_OBJECTS=1",
        "request #3 was approved by operator",
        "scout fails its health check with #3: Its harness says hello, but claude does not start",
        "the configuration from before is back",
        "hive → hm1nd: “Your request #3 (apply_commit scout) was approved by operator, but scout did not come up",
        "hm1nd → operator: “The hive saw that it does not work and took it back",
    )
    places = [err.find(words) for words in told]
    assert -1 not in places, [words for words, place in zip(told, places, strict=True) if place < 0]
    assert places == sorted(places)


@pytest.mark.bwrap
def test_the_closing_table_names_what_was_seen():
    code, out, err = run("--exit")
    assert code == 0, err
    table = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in out.splitlines()[1:])
    assert table["agents"] == "2: hm1nd, scout"
    assert table["driver"] == "bwrap"
    assert table["approvals"] == "3: 2 applied, 1 rolled back"
    assert err.count("✓") == 27


def test_it_runs_with_the_oldest_cli_and_without_containers():
    claude = PROJECT / ".tools" / f"claude-{FLOOR}" / "claude"
    if not claude.exists():
        pytest.skip(f"bin/setup test installs Claude CLI {FLOOR}")
    code, out, err = run("--exit", "--json", "--driver", "process", HIVE_CLAUDE=str(claude))
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["driver"], summary["isolation"], summary["cli_version"]) == ("process", "D", FLOOR)
    assert "isolation level D" in err
    assert summary["approvals"] == {"applied": 2, "rolled_back": 1}
    assert_nothing_is_left(err)


def test_a_tour_that_is_ended_in_the_middle_takes_everything_along():
    process = start("--exit")
    err = read_until(process, "hm1nd → operator")
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_nothing_is_left(err + rest)


def test_a_tour_that_is_killed_leaves_no_process():
    process = start("--exit")
    err = read_until(process, "hm1nd → operator")
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not leftovers(place(err)))
    shutil.rmtree(place(err))


def test_the_person_may_say_no():
    process = start("--countdown", "60")
    err = read_until(process, "approve it in the browser")
    hive = [sys.executable, str(PROJECT / "manage.py"), "hive"]
    answer = ["deny", "1", "--reason", "not today"]
    subprocess.run([*hive, *answer], env=env(HIVE_RUNTIME_DIR=f"{place(err)}/run"), check=True, capture_output=True)
    assert "denied: not today. The tour ends here" in read_until(process, "The tour ends")
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert_nothing_is_left(err + rest)


def test_the_person_may_say_yes_and_then_no():
    process = start("--countdown", "60")
    err = read_until(process, "approve it in the browser")
    hive = [sys.executable, str(PROJECT / "manage.py"), "hive"]
    mine = env(HIVE_RUNTIME_DIR=f"{place(err)}/run")
    subprocess.run([*hive, "approve", "1"], env=mine, check=True, capture_output=True)
    err += read_until(process, "or with `hive approve 2`")
    assert '+ egress = ["docs.example.org"]' in err
    shown = subprocess.run([*hive, "show", "2"], env=mine, check=True, capture_output=True, text=True)
    assert "egress +docs.example.org" in shown.stdout
    subprocess.run([*hive, "deny", "2", "--reason", "scout reads enough"], env=mine, check=True, capture_output=True)
    assert "denied: scout reads enough. The tour ends here" in read_until(process, "The tour ends")
    inbox = [*hive, "messages", "--to", "operator"]
    wait_until(lambda: "Then scout stays as it is" in subprocess.check_output(inbox, env=mine, text=True))
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert_nothing_is_left(err + rest)


def test_a_step_that_fails_is_named_and_the_logs_are_kept():
    code, out, err = run("--exit", "--driver", "nodriver")
    assert (code, out) == (1, "")
    assert "“serving” was not seen" in err
    assert "No driver is called 'nodriver'" in (place(err) / "log").read_text()
    shutil.rmtree(place(err))


def wait_until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)
