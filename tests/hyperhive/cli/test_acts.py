"""What changes something: waited for, asked about first, told afterwards."""

import asyncio
import threading

import pytest

from broker.wire import Refused, listen

from .fake_host import (
    approval,
    container,
    on_a_terminal,
    then,
)

# ---- waiting


def test_spawn_waits_and_tells_each_step_once(host, hive):
    starting = container(status="creating", op="start")
    host.answers["spawn"] = starting
    steps = ("making directories", "making directories", "starting its processes")
    host.answers["status"] = [*(starting | {"step": step} for step in steps), container()]
    found = hive("spawn", "scout")
    assert (found.code, found.out) == (0, "scout: running\n")
    assert found.err.splitlines() == ["scout: making directories", "scout: starting its processes"]


def test_spawn_sends_the_configuration_of_a_file(host, hive, tmp_path):
    host.answers["spawn"] = container()
    (tmp_path / "agent.toml").write_text('model = "haiku"\n[env]\nA = "1"\n')
    assert hive("spawn", "scout", "--config", tmp_path / "agent.toml").code == 0
    assert host.said("spawn") == [{"name": "scout", "config": {"model": "haiku", "env": {"A": "1"}}}]


@pytest.mark.parametrize("text", ["model =", "when = 2026-01-01", "n = nan", None])
def test_a_file_that_is_no_configuration_is_a_usage_error(host, hive, tmp_path, text):
    if text is not None:
        (tmp_path / "agent.toml").write_text(text)
    found = hive("spawn", "scout", "--config", tmp_path / "agent.toml")
    assert (found.code, host.calls) == (2, [])
    assert "agent.toml" in found.err


def test_what_ends_up_failing_exits_1_with_the_reason_and_where_to_look(host, hive):
    host.answers["start"] = container(op="start")
    host.answers["status"] = container(status="failing", state="failing", error="It ended with exit code 3.")
    found = hive("start", "scout", "--json")
    assert found.code == 1
    assert found.json()["status"] == "failing"
    assert found.err == "hive: scout is failing: It ended with exit code 3. `hive logs scout` shows what it wrote.\n"


def test_a_rebuild_that_left_the_old_container_running_is_a_failure(host, hive):
    host.answers["rebuild"] = container(op="rebuild")
    host.answers["status"] = container(error="The rebuild failed, the old container runs on: no room.")
    assert hive("rebuild", "scout").code == 1


def test_waiting_ends_after_the_time_given(host, hive):
    host.answers["stop"] = host.answers["status"] = container(op="stop", step="asking its harness to end")
    found = hive("stop", "scout", "--timeout", "0.4")
    assert found.code == 6
    assert "asking its harness to end" in found.err
    assert "hive status scout" in found.err


def test_without_waiting_the_first_answer_is_the_result(host, hive):
    host.answers["restart"] = container(op="restart", status="running")
    found = hive("restart", "scout", "--no-wait")
    assert (found.code, host.calls) == (0, [("restart", {"name": "scout"})])


def test_purge_lists_what_it_removed_although_the_row_is_gone_at_the_end(host, hive):
    removed = [{"path": "/var/lib/hyperhive/homes/scout", "files": 3, "bytes": 99}]
    purging = container(op="purge", status="purging")
    gone = Refused("not_found", "No agent is called 'scout'.")
    host.answers |= {"destroy": purging, "status": [container(), purging, purging | {"purged": removed}, gone]}
    found = hive("destroy", "scout", "--purge", "--yes")
    assert found.code == 0
    assert found.out.splitlines() == ["scout: destroyed", "removed /var/lib/hyperhive/homes/scout (3 files, 99 bytes)"]
    assert host.said("destroy") == [{"name": "scout", "purge": True}]
    assert "for good" in found.err


def test_the_wait_survives_a_restart_of_the_host(host, hive):
    host.answers["start"] = container(op="start")
    host.answers["status"] = [container(op="start"), container()]

    async def restart():
        await host.hang_up()
        await asyncio.sleep(0.5)
        host.server = await listen(host.path / "host.sock", host._verb)

    restarting = threading.Timer(0.1, lambda: host._run(restart()))
    restarting.start()
    assert hive("start", "scout").code == 0
    restarting.join()


def test_a_panic_asks_nothing_and_says_how_it_ends(host, hive):
    host.answers["panic"] = {"paused": ["hm1nd", "scout"], "ended": ["scout"]}
    assert hive("panic").out.startswith(
        "1 turns end now, 2 agents are paused; their messages wait\n`hive panic --over`"
    )
    assert hive("panic", "-q").out == "scout\n"
    host.answers["panic_over"] = [{"resumed": ["hm1nd", "scout"]}, Refused("conflict", "Not everybody is paused.")]
    assert hive("panic", "--over").out == "hm1nd: goes on\nscout: goes on\n"
    assert hive("panic", "--over").code == 5


# ---- what is dangerous


def test_destroy_without_a_terminal_needs_yes(host, hive):
    host.answers["status"] = container()
    found = hive("destroy", "scout")
    assert (found.code, host.calls) == (2, [])
    assert "--yes" in found.err


def test_on_a_terminal_destroy_asks_for_the_name_and_says_what_stays(host):
    host.answers |= {"status": container(), "destroy": container(status="destroyed")}
    code, shown = on_a_terminal(host, "destroy", "scout", typed=b"owl\n")
    assert (code, host.said("destroy")) == (1, [])
    assert "These stay" in shown
    assert "homes/scout" in shown
    code, shown = on_a_terminal(host, "destroy", "scout", typed=b"scout\n")
    assert (code, host.said("destroy")) == (0, [{"name": "scout", "purge": False}])


def test_ctrl_c_at_the_question_ends_with_130(host):
    host.answers |= {"status": container()}
    code, shown = on_a_terminal(host, "destroy", "scout", typed=b"")
    assert (code, host.said("destroy")) == (130, [])
    assert "Traceback" not in shown


def test_approve_shows_what_it_approves_and_sends_the_hash_it_saw(host, hive):
    host.answers |= {"show": approval(sha256="b" * 64), "approve": approval(state="approved")}
    found = hive("approve", 1)
    assert (found.code, found.out) == (0, "#1 spawn scout: approved\n")
    assert '{"name": "scout"}' in found.err
    assert "to look around" in found.err
    assert host.said("approve") == [{"id": 1, "sha256": "b" * 64}]


DIFF = [
    {"kind": "hunk", "old": None, "new": None, "text": "@@ -1 +1,2 @@"},
    {"kind": "ctx", "old": 1, "new": 1, "text": "model = 'opus'"},
    {"kind": "add", "old": None, "new": 2, "text": "egress = ['a.org']"},
]
CHANGE = {
    "kind": "apply_commit",
    "sha": "c" * 40,
    "diff": DIFF,
    "changes": ["egress +a.org"],
    "happens": "It is rebuilt.",
    "doing": "",
}


def test_a_commit_is_shown_as_its_difference_its_settings_and_what_a_yes_does(host, hive):
    host.answers["show"] = approval(**CHANGE)
    shown = hive("show", 1).out
    assert "       1    1   model = 'opus'\n            2 + egress = ['a.org']\n" in shown
    assert "settings that change:\n    egress +a.org\n" in shown
    assert "what a yes does:\n    It is rebuilt.\n" in shown


def test_history_lists_what_was_applied(host, hive):
    entry = {"rev": "d" * 40, "at": then(), "by": "hm1nd", "message": "#3: it reads the docs"}
    host.answers["history"] = {"name": "scout", "history": [entry]}
    assert "#3: it reads the docs" in hive("history", "scout").out
    assert hive("history", "scout", "-q").out == "d" * 40 + "\n"


def test_a_rollback_is_waited_for_and_says_when_it_failed(host, hive):
    applying = approval(**CHANGE | {"state": "applying", "doing": "waiting until it is up"})
    host.answers |= {"rollback": applying, "show": [applying, applying | {"state": "applied", "doing": ""}]}
    found = hive("rollback", "scout", "dddd")
    assert (found.code, found.out) == (0, "#1 apply_commit scout: applied\n")
    assert "egress +a.org" in found.err
    assert "waiting until it is up" in found.err
    assert host.said("rollback") == [{"name": "scout", "rev": "dddd"}]
    host.answers["show"] = applying | {"state": "failed", "error": "It said no hello."}
    found = hive("rollback", "scout")
    assert (found.code, "scout: It said no hello." in found.err) == (1, True)
    assert hive("rollback", "scout", "--no-wait").code == 0


def test_a_rebuild_of_several_waits_for_their_turns(host, hive):
    busy = container("owl", due=True)
    host.answers |= {"rebuild_many": {"agents": [container(op="rebuild"), busy]}}
    host.answers |= {"status": [container(), busy | {"op": "rebuild", "due": False}, container("owl")]}
    found = hive("rebuild", "--stale")
    assert (found.code, found.out) == (0, "scout: running\nowl: running\n")
    assert "owl: waiting for its turn to end" in found.err
    assert host.said("rebuild_many") == [{"which": "stale"}]
    host.answers["rebuild_many"] = {"agents": []}
    assert "as it would be made now" in hive("rebuild", "--all").err
    for wrong in ([], ["scout", "--stale"], ["--stale", "--all"]):
        assert hive("rebuild", *wrong).code == 2


def test_on_a_terminal_approve_asks_after_showing(host):
    host.answers |= {"show": approval(), "approve": approval(state="approved")}
    assert on_a_terminal(host, "approve", "1", typed=b"n\n")[0] == 1
    assert host.said("approve") == []
    assert on_a_terminal(host, "approve", "1", typed=b"y\n")[0] == 0


def test_a_decision_that_came_too_late_says_whose_was_first(host, hive):
    host.answers |= {"show": approval(), "approve": Refused("conflict", "Approval 1 is already denied, by operator.")}
    found = hive("approve", 1)
    assert found.code == 5
    assert "already denied, by operator" in found.err


def test_deny_wants_a_reason(host, hive):
    assert hive("deny", 1).code == 2
    host.answers["deny"] = approval(state="denied")
    assert hive("deny", 1, "--reason", "too soon").code == 0
    assert host.said("deny") == [{"id": 1, "reason": "too soon"}]
