"""The container's row: spawning, wishes, and the story of an agent from its spawn to its purge."""

import json
import os
from dataclasses import replace

import pytest
from django.utils import timezone

from agents.models import Agent, Event, Turn
from broker.models import Lease, Mailbox, Message
from broker.wire import Refused
from lifecycle import allot, paths, steps
from lifecycle.drivers import DRIVERS
from lifecycle.models import Container
from tests.lifecycle.conftest import logged

pytestmark = [pytest.mark.django_db, pytest.mark.bwrap]


@pytest.fixture
def scout(payload):
    Mailbox.objects.create(name="operator", role="operator")
    row = Container.spawn("scout")
    return carried_out(row)


def carried_out(row: Container) -> Container:
    Container.carry_out(row.name)
    return Container.named(row.name)


def asked(row: Container, verb: str, **params) -> Container:
    getattr(row, verb)(**params)
    return carried_out(row)


def test_a_spawn_starts_it_and_its_row_tells(scout):
    assert (scout.status, scout.op, scout.desired, scout.error) == ("running", "", "running", "")
    shown = scout.as_json()
    json.dumps(shown)
    assert shown["pid"]
    assert shown["fingerprint"] == DRIVERS[scout.driver].fingerprint(scout.spec())
    assert Mailbox.objects.get(name="scout").open


def test_stop_start_restart_kill_each_do_what_they_say(scout):
    first = scout.as_json()["pid"]
    logged(DRIVERS[scout.driver], "scout", "ready")
    stopped = asked(scout, "stop")
    assert (stopped.status, stopped.as_json()["exit_code"], stopped.as_json()["pid"]) == ("stopped", 7, None)
    started = asked(stopped, "start")
    second = started.as_json()["pid"]
    assert started.status == "running"
    assert second != first
    assert asked(started, "start").as_json()["pid"] == second
    restarted = asked(started, "restart")
    assert restarted.as_json()["pid"] not in (first, second)
    killed = asked(restarted, "kill")
    assert (killed.status, killed.desired, killed.as_json()["exit_code"]) == ("stopped", "stopped", 137)


def test_a_rebuild_takes_the_new_configuration(scout):
    before = scout.fingerprint
    Container.objects.filter(pk="scout").update(config={"model": "opus"})
    rebuilt = asked(Container.named("scout"), "rebuild")
    assert rebuilt.fingerprint != before
    assert json.loads(paths.agent_file("scout").read_text())["config"]["model"] == "opus"


def test_a_rebuild_that_cannot_be_prepared_leaves_the_old_one_running(scout):
    pid = scout.as_json()["pid"]
    Container.objects.filter(pk="scout").update(config={"packages": ["jq"]})
    after = asked(Container.named("scout"), "rebuild")
    assert (after.status, after.as_json()["pid"]) == ("running", pid)
    assert "cannot honour packages" in after.error


def test_destroy_keeps_everything_and_a_later_spawn_finds_it(scout):
    (paths.state_dir("scout") / "note").write_text("kept")
    uid, port, incarnation = scout.uid, scout.port, scout.incarnation
    Message.send("operator", "scout", "are you there?")
    gone = asked(scout, "destroy")
    assert (gone.status, gone.desired) == ("destroyed", "destroyed")
    with pytest.raises(Refused, match="takes no messages"):
        Message.send("operator", "scout", "hello?")
    with pytest.raises(Refused, match="was already destroyed; spawn it anew"):
        gone.start()
    again = carried_out(Container.spawn("scout"))
    assert (again.uid, again.port, again.status) == (uid, port, "running")
    assert again.incarnation != incarnation
    assert (paths.state_dir("scout") / "note").read_text() == "kept"
    assert Message.waiting("scout") == 1


def test_a_purge_wipes_lists_and_tells_the_senders(scout, monkeypatch):
    (paths.claude_dir("scout") / "credentials").write_text("secret")
    (paths.socket_dir("scout", "agent") / "mcp.sock").write_text("")
    Turn.objects.create(id="t", agent="scout", number=1, started_at=timezone.now())
    Event.objects.create(agent="scout", seq=1, kind="log")
    Message.send("operator", "scout", "one")
    Message.send("operator", "scout", "two")
    Message.claim("scout", "t", "t", 60)
    gone = asked(scout, "destroy", purge=True)
    assert gone.status == "destroyed"
    removed = {entry["path"]: entry for entry in gone.as_json()["purged"]}
    assert set(removed) == {str(place) for place in paths.purged("scout", "agent")}
    assert removed[str(paths.home_dir("scout"))] == {"path": str(paths.home_dir("scout")), "files": 1, "bytes": 6}
    assert not any(place.exists() for place in paths.purged("scout", "agent"))
    for rows in (Agent.objects, Mailbox.objects):
        assert not rows.filter(pk="scout").exists()
    for rows in (Turn.objects, Event.objects):
        assert not rows.filter(agent="scout").exists()
    assert not Lease.objects.filter(recipient="scout").exists()
    assert Message.objects.filter(recipient="scout").values_list("state", flat=True).distinct().get() == "dead"
    told = Message.objects.filter(recipient="operator", sender="hive")
    assert told.count() == 2
    assert "was destroyed and purged" in told[0].body
    with pytest.raises(Refused, match="purged"):
        gone.start()
    monkeypatch.setattr(steps, "said_hello", lambda name, status: True)
    assert carried_out(Container.spawn("scout")).purged is None


def test_what_is_mounted_stops_a_purge_which_can_be_asked_for_again(scout, monkeypatch):
    real = steps.safe_fs.purge

    def mounted(place):
        raise steps.safe_fs.Unsafe(f"Something is mounted at {place}: unmount it, then purge again.")

    monkeypatch.setattr(steps.safe_fs, "purge", mounted)
    stuck = asked(scout, "destroy", purge=True)
    assert (stuck.status, stuck.state()[0]) == ("failing", "failing")
    assert "unmount it" in stuck.error
    with pytest.raises(Refused, match="destroyed"):
        stuck.start()
    monkeypatch.setattr(steps.safe_fs, "purge", real)
    assert asked(stuck, "destroy", purge=True).status == "destroyed"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "rebuild", "destroy"])
def test_nothing_overtakes_the_end_of_a_container(scout, verb):
    Container.named("scout").destroy()
    with pytest.raises(Refused, match="scout is being destroyed") as refusal:
        getattr(scout, verb)()
    assert refusal.value.kind == "conflict"


def test_the_last_wish_wins(scout):
    scout.stop()
    Container.named("scout").start()
    Container.named("scout").stop()
    assert carried_out(scout).status == "stopped"


def test_a_later_wish_ends_the_wait_for_an_earlier_one(scout, monkeypatch):
    looks = []

    def nobody(name, status):
        looks.append(name)
        if len(looks) == 3:
            Container.named(name).stop()
        return False

    monkeypatch.setattr(steps, "said_hello", nobody)
    assert asked(scout, "restart").status == "stopped"
    assert len(looks) == 3


def test_a_wish_that_comes_with_the_last_step_is_not_settled_by_it(scout, monkeypatch):
    def stopped_meanwhile(name, status):
        Container.named(name).stop()
        return True

    monkeypatch.setattr(steps, "said_hello", stopped_meanwhile)
    after = asked(scout, "restart")
    assert (after.op, after.status, after.as_json()["pid"]) == ("", "stopped", None)


def test_a_harness_that_never_says_hello_is_told_of_with_the_end_of_its_log(payload, monkeypatch):
    payload["now"] = "echo its last words; sleep 60"
    monkeypatch.setattr(steps, "said_hello", lambda name, status: False)
    monkeypatch.setattr(steps, "HELLO", 1.0)
    row = carried_out(Container.spawn("scout"))
    assert row.status == "failing"
    assert "has not said hello within 1 s. The end of its log: its last words" in row.error


def test_a_harness_that_ends_at_once_is_told_of_with_its_code(payload, monkeypatch):
    payload["now"] = "echo no such thing; exit 4"
    monkeypatch.setattr(steps, "said_hello", lambda name, status: False)
    row = carried_out(Container.spawn("scout"))
    assert row.error == "It ended as it was started, with exit code 4. The end of its log: no such thing"


def test_an_exit_code_that_is_written_a_moment_later_is_waited_for(payload, monkeypatch):
    payload["now"] = "exit 4"
    monkeypatch.setattr(steps, "said_hello", lambda name, status: False)
    seen = DRIVERS["bwrap"].status
    monkeypatch.setattr(DRIVERS["bwrap"], "status", lambda name: replace(seen(name), exit_code=None))
    assert "with exit code 4." in carried_out(Container.spawn("scout")).error


def test_hello_counts_only_when_it_is_newer_than_the_start(places):
    agent = Agent.objects.create(name="scout", seen_at=timezone.now())
    status = DRIVERS["bwrap"].status("scout").__class__("running", 1, timezone.now())
    assert not steps.said_hello("scout", status)
    Agent.objects.filter(pk=agent.pk).update(seen_at=timezone.now())
    assert steps.said_hello("scout", status)


def test_what_a_turn_held_waits_again_when_its_agent_is_stopped(scout):
    Message.send("operator", "scout", "work")
    Message.claim("scout", "turn", "turn", 600)
    asked(scout, "stop")
    assert Message.objects.get(recipient="scout").state == "queued"
    assert not Lease.objects.exists()


# ---- rows


def test_a_name_is_given_once(payload):
    Container.spawn("scout")
    with pytest.raises(Refused, match="An agent called 'scout' already exists") as refusal:
        Container.spawn("scout")
    assert (refusal.value.kind, refusal.value.word) == ("conflict", "name_taken")


@pytest.mark.parametrize("name", ["hm1nd", "Scout", "operator", "a\n"])
def test_a_name_outside_the_rule_makes_nothing(payload, name):
    with pytest.raises(Refused):
        Container.spawn(name)
    assert not Container.objects.exists()
    assert not Mailbox.objects.exists()


def test_an_unknown_agent_is_refused_with_the_nearest_name(payload):
    Container.spawn("scout")
    with pytest.raises(Refused, match="No agent is called 'scuot'. Did you mean 'scout'?"):
        Container.named("scuot")


def test_the_manager_is_made_once_and_cannot_be_destroyed(payload, settings):
    manager = Container.ensure_manager()
    assert (manager.name, manager.role, manager.port) == ("hm1nd", "manager", int(settings.HIVE_MANAGER_PORT))
    assert Container.ensure_manager().incarnation == manager.incarnation
    with pytest.raises(Refused, match="The manager cannot be destroyed"):
        manager.destroy(purge=True)
    assert carried_out(manager).status == "running"
    assert asked(manager, "stop").status == "stopped"
    assert paths.socket_dir("hm1nd", "manager").is_dir()


def test_users_and_ports_are_each_given_once(payload, settings):
    settings.HIVE_AGENT_PORTS = "8100-8103"
    rows = [Container.spawn(name) for name in ("a", "b", "c", "d", "e")]
    assert len({row.uid for row in rows}) == 5
    assert sorted(row.port for row in rows[:4]) == [8100, 8101, 8102, 8103]
    assert rows[4].port is None
    assert all(1_900_000_000 <= row.uid < 1_902_000_000 for row in rows)


def test_a_user_that_a_purge_set_free_is_given_again(payload, settings):
    settings.HIVE_UID_BASE = 70_000
    assert [Container.spawn(name).uid for name in ("a", "b")] == [70_000, 70_001]
    Container.objects.filter(pk="a").delete()
    assert Container.spawn("c").uid == 70_000


def test_when_all_users_are_given_out_a_spawn_says_so(payload, monkeypatch):
    monkeypatch.setattr(allot, "USERS", 1)
    Container.spawn("a")
    with pytest.raises(Refused, match="purge agents you no longer need"):
        Container.spawn("b")
    assert not Mailbox.objects.filter(name="b").exists()


def test_a_name_whose_purge_is_only_wished_for_is_not_free_yet(scout):
    asked(scout, "destroy")
    Container.named("scout").destroy(purge=True)
    with pytest.raises(Refused, match="already exists"):
        Container.spawn("scout")


def test_a_port_is_the_names_own_and_can_be_done_without(payload, settings):
    port = Container.spawn("scout").port
    assert 8100 <= port <= 8999
    Container.objects.all().delete()
    assert Container.spawn("scout").port == port
    settings.HIVE_AGENT_PORTS = ""
    assert Container.spawn("other").port is None


def test_states_are_told_in_the_words_of_the_hive(scout):
    agent = Agent.objects.get(name="scout")
    assert scout.state()[0] == "offline"
    agent.seen_at = timezone.now()
    agent.save()
    agent.says("thinking", "about it")
    assert scout.state()[0] == "thinking"
    scout.pause()
    assert scout.state()[0] == "paused"
    scout.resume()
    scout.rebuild()
    assert scout.state()[0] == "rebuilding"
    assert carried_out(scout).state()[0] == "offline"  # until the new harness speaks
    assert asked(Container.named("scout"), "stop").state()[::2] == ("offline", "It is stopped.")


def test_what_a_spawn_would_make_is_shown_before_a_yes(payload):
    assert Container.check_spawn("scout", {"model": "opus"}) == {"name": "scout", "config": {"model": "opus"}}
    with pytest.raises(Refused, match="Did you mean 'egress'"):
        Container.check_spawn("scout", {"egres": []})


def test_its_list_of_hosts_is_everyones_and_its_own(payload):
    row = Container.spawn("scout", config={"egress": ["docs.example.org"]})
    assert row.egress[-1] == "docs.example.org"
    assert "api.anthropic.com:443" in row.egress
    assert row.host_uid == (row.uid if os.geteuid() == 0 and row.driver == "bwrap" else os.geteuid())
