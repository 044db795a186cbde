"""The nixos driver's story, told the way the daemon tells it, to a fake nixos-container that is held to the real one."""

import dataclasses
import json
import os
import re
import threading
import time

import pytest

from lifecycle import flakes, paths, pool, room, steps, work
from lifecycle.drivers import DRIVERS, DriverError, nixos_build
from lifecycle.drivers import nixos_commands as commands
from lifecycle.drivers import nixos_files as files
from lifecycle.isolation import level
from lifecycle.models import Container
from tests.containers.world import World
from tests.lifecycle.conftest import until

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(os.geteuid() != 0, reason="nixos-container works for root alone"),
]

OPUS = '{ hyperhive.model = "opus"; }\n'
BROKEN = "{ BROKEN }\n"
LIMITS = '# agent.json: {"config": {"memory_max": "2G", "tasks_max": 99, "egress": ["docs.example.org"], "idle_timeout": 5}}\n'
NIX = DRIVERS["nixos"]


@pytest.fixture
def nixos(places, settings, monkeypatch):
    world = World(places / "nixos")
    for name, value in world.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(files, "CONFS", (world.root / "etc/nixos-containers", world.root / "etc/containers"))
    monkeypatch.setattr(files, "PROFILES", world.root / "nix/var/nix/profiles/per-container")
    monkeypatch.setattr(files, "STORE", f"{world.root}/nix/store")
    monkeypatch.setattr(steps, "said_hello", lambda name, status: True)
    settings.HIVE_DRIVER, settings.HIVE_FLAKE_URL, settings.HIVE_NIXPKGS_URL = (
        "nixos",
        "path:/s/hive",
        "path:/s/nixpkgs",
    )
    commands.private_users.cache_clear()
    pool.stopping.clear()
    yield world
    work.stop()
    world.close()
    commands.private_users.cache_clear()


def done(row: Container) -> Container:
    Container.carry_out(row.name)
    return Container.named(row.name)


def spawned(name: str = "iris", source: str = "") -> Container:
    row = Container.spawn(name)
    Container.objects.filter(pk=name).update(source=source)
    return done(row)


def rebuilt(row: Container, source: str) -> Container:
    Container.objects.filter(pk=row.pk).update(source=source)
    row.refresh_from_db()
    row.rebuild()
    return done(row)


def verbs(world: World) -> list[str]:
    """What was done, without what was only looked at."""
    looks = ("show", "status")
    return [" ".join(call[:2]) for call in world.calls() if call[1] not in looks]


def conf(world: World, name: str = "iris") -> str:
    return (world.root / f"etc/nixos-containers/h-{name}.conf").read_text()


# ---- the story --------------------------------------------------------------------------------------------------------


def test_from_spawn_to_purge(nixos):
    row = spawned()
    assert (row.status, row.error, row.driver) == ("running", "", "nixos")
    assert verbs(nixos) == [
        "nix build", "nix build", "nix-env -p", "nix-env -p", "systemctl set-property", "systemctl start",
    ]  # fmt: skip
    first, pid = files.toplevel("iris"), nixos.pid("h-iris")
    assert row.as_json()["pid"] == pid > 1
    assert row.fingerprint == NIX.fingerprint(row.spec())

    nixos.forget()
    row = rebuilt(row, OPUS)
    assert (row.status, row.error) == ("running", "")
    assert verbs(nixos) == [
        "nix build", "nix build", "nix-env -p", "systemctl reload", "systemctl -M", "nix-env -p", "systemctl set-property",
    ]  # fmt: skip
    second = files.toplevel("iris")
    assert second != first
    assert nixos.pid("h-iris") == pid, "a reload is enough, the container runs on"
    assert row.fingerprint == NIX.fingerprint(row.spec())

    good = row.fingerprint
    row = rebuilt(row, BROKEN)
    assert "The rebuild failed, the old container runs on: The configuration of iris does not build" in row.error
    assert "undefined variable 'BROKEN'" in row.error
    assert (row.status, files.toplevel("iris"), nixos.pid("h-iris"), row.fingerprint) == ("running", second, pid, good)

    nixos.fail("systemctl-reload", once=True)
    row = rebuilt(row, "{ third = 3; }")
    assert "failed to reload" in row.error
    assert "It was rolled back to the system before." in row.error
    assert (row.status, files.toplevel("iris"), nixos.pid("h-iris"), row.fingerprint) == ("running", second, pid, good)

    row.stop()
    row = done(row)
    assert (row.status, row.desired, nixos.pid("h-iris")) == ("stopped", "stopped", 0)
    assert row.now().state == "stopped"

    row.destroy()
    row = done(row)
    assert row.status == "destroyed"
    assert nixos.calls("systemctl", "revert") == [["systemctl", "revert", "container@h-iris.service"]]
    assert not list((nixos.root / "etc/nixos-containers").iterdir())
    assert not (nixos.root / "nix/var/nix/profiles/per-container/h-iris").exists()
    assert paths.state_dir("iris").exists(), "its notes stay for a later spawn of the name"

    row.destroy(purge=True)
    row = done(row)
    assert not [place for place in paths.purged("iris", "agent") if place.exists()]
    assert NIX.status("iris").state == "absent"


def test_the_conf_is_rewritten_before_the_start(nixos):
    row = spawned()
    text = conf(nixos)
    base = files.first_user(row.spec())
    assert "PRIVATE_NETWORK=1\nHOST_ADDRESS=\nLOCAL_ADDRESS=\nHOST_BRIDGE=\n" in text
    assert f"FLAKE=path:{flakes.directory('iris')}\n" in text
    assert f"PRIVATE_USERS={base}\n" in text
    flags = re.search(r'^EXTRA_NSPAWN_FLAGS="(.*)"$', text, re.MULTILINE)[1].split(" ")
    assert flags == [
        f"--bind-ro={paths.socket_dir('iris', 'agent')}:/run/hive",
        f"--bind={paths.claude_dir('iris')}:/root/.claude",
        f"--bind={paths.journal_dir('iris')}:/var/lib/hive",
        f"--bind={paths.state_dir('iris')}:/state",
        f"--bind={paths.workspace_dir('iris')}:/workspace",
        "--bind-ro=/dev/null:/nix/var/nix/daemon-socket/socket",
        "--private-users-ownership=auto",
    ]
    assert row.host_uid == base == paths.state_dir("iris").stat().st_uid
    assert base % 65536 == 0
    assert 524288 <= base < 1_879_048_191
    # /etc/nixos-containers is written by rename alone, and nothing is left beside it.
    assert [entry.name for entry in (nixos.root / "etc/nixos-containers").iterdir()] == ["h-iris.conf"]


def test_two_agents_have_no_user_in_common(nixos):
    one, two = spawned("one"), spawned("two")
    assert abs(one.host_uid - two.host_uid) >= 65536


@pytest.mark.root
@pytest.mark.skipif(bool(room.probe()), reason=f"a container's part of the disk: {room.probe()}")
def test_its_files_are_a_part_of_the_disk_where_the_host_can_mount_one(nixos, settings, monkeypatch):
    monkeypatch.setattr(room, "HOST", "/proc/self/ns/mnt")
    settings.HIVE_AGENT_DISK_MAX = "64M"
    row = spawned()
    facts = os.statvfs(paths.workspace_dir("iris"))
    assert facts.f_blocks * facts.f_frsize < 64 << 20
    assert paths.workspace_dir("iris").stat().st_uid == row.host_uid
    row.destroy(purge=True)
    done(row)
    assert not os.path.ismount(paths.home_dir("iris"))


def test_the_manager_is_given_the_proposed_repositories(nixos):
    row = Container.ensure_manager()
    done(row)
    assert f"--bind={paths.proposed_dir()}:/agents" in conf(nixos, "hm1nd")


def test_an_older_nixos_gives_no_users_of_its_own_and_the_level_says_so(nixos, settings, monkeypatch):
    assert level("nixos")[0] == "B", "without a limit on the disk"
    monkeypatch.setattr(room, "HOST", "/proc/self/ns/mnt")
    settings.HIVE_AGENT_DISK_MAX = "10G"
    assert level("nixos")[0] == ("B" if room.probe() else "A")
    monkeypatch.setattr(room, "HOST", "/proc/0/ns/mnt")
    assert "the daemon cannot enter" in level("nixos")[1][0]
    (nixos.state / "container-start").write_text("# knows nothing of them\n")
    commands.private_users.cache_clear()
    letter, missing = level("nixos")
    assert letter == "C"
    assert "no user namespace" in missing[0]
    row = spawned()
    assert "PRIVATE_USERS" not in conf(nixos)
    assert row.host_uid == 0


def test_every_command_is_a_list_with_the_agents_own_directory(nixos, monkeypatch):
    seen = []
    real = commands.subprocess.run
    monkeypatch.setattr(commands.subprocess, "run", lambda argv, **how: seen.append((argv, how)) or real(argv, **how))
    spawned()
    assert all(isinstance(argv, tuple) and not how.get("shell") for argv, how in seen)
    create = next(how for argv, how in seen if argv[:2] == ("nixos-container", "create"))
    assert create["cwd"] == files.build_dir("iris")
    assert not (files.build_dir("iris") / ".tmp").is_symlink(), "the link would keep its system from being collected"
    build = nixos.calls("nix", "build")[0]
    assert build[:7] == ["nix", "build", "--no-link", "--print-out-paths", "--option", "extra-experimental-features",
                         "nix-command flakes"]  # fmt: skip
    assert build[7:] == ["--", f"path:{flakes.directory('iris')}#{flakes.ATTR}"]


@pytest.mark.parametrize(
    "path", ["/a b", "/a\tb", "/a:b", "/a$b", "/a%b", "/a\\b", '/a"b', "/a*b", "/a\n", "relative", "/ü"]
)
def test_a_path_that_cannot_be_quoted_is_refused(path):
    with pytest.raises(DriverError, match="cannot be given to a container"):
        files.plain(path)


def test_a_state_directory_that_cannot_be_bound_is_refused_before_the_build(nixos, settings):
    settings.HIVE_STATE_DIR = settings.HIVE_STATE_DIR / "with space"
    row = spawned()
    assert row.status == "failing"
    assert "free of white space" in row.error
    assert nixos.calls("nix") == []


# ---- limits and settings ----------------------------------------------------------------------------------------------


def test_limits_are_what_agent_nix_says_and_the_hives_own_where_it_is_silent(nixos, settings):
    row = spawned(source=LIMITS)
    assert nixos.calls("systemctl", "set-property") == [
        ["systemctl", "set-property", "container@h-iris.service", "MemoryMax=2G", "CPUQuota=200%", "TasksMax=99"]
    ]
    assert "docs.example.org" in row.egress
    rebuilt(row, "{ }")
    assert nixos.calls("systemctl", "set-property")[-1][-3:] == ["MemoryMax=4G", "CPUQuota=200%", "TasksMax=2048"]


def test_an_agent_json_that_will_not_do_stands_for_nothing(nixos):
    row = spawned(source='# agent.json: {"config": {"memory_max": "lots"}}\n')
    assert (row.status, NIX.configured("iris")) == ("running", None)
    assert nixos.calls("systemctl", "set-property")[-1][3] == "MemoryMax=4G"


def test_an_agent_json_that_leads_out_of_the_store_is_not_read(nixos, places):
    spawned()
    secret = places / "secret.json"
    secret.write_text('{"config": {"egress": ["evil.example"]}}')
    place = files.toplevel("iris") + "/etc/hyperhive/agent.json"
    os.symlink(secret, place)
    assert NIX.configured("iris") is None


# ---- builds -----------------------------------------------------------------------------------------------------------


def test_a_build_is_told_as_it_goes_and_kept_in_its_log(nixos):
    told = []
    row = Container.spawn("iris")
    NIX.prepare(dataclasses.replace(row.spec(), say=told.append))
    assert any(word.startswith("building") for word in told)
    assert "evaluating derivation" in (paths.run_dir("iris") / "build.log").read_text()


def test_a_fingerprint_that_failed_is_not_tried_again_by_itself(nixos):
    row = spawned(source=BROKEN)
    assert row.status == "failing"
    assert "undefined variable" in row.error
    builds = len(nixos.calls("nix", "build"))
    row.start()
    row = done(row)
    assert "not built again by itself" in row.error
    assert len(nixos.calls("nix", "build")) == builds
    row.rebuild()
    done(row)
    assert len(nixos.calls("nix", "build")) == builds + 1, "who asks for a rebuild gets one"
    assert json.loads((paths.run_dir("iris") / "failed.json").read_text())["fingerprint"] == NIX.fingerprint(row.spec())


def test_after_a_failed_rebuild_a_restart_brings_back_what_ran(nixos):
    row = rebuilt(spawned(source=OPUS), BROKEN)
    before, good = files.toplevel("iris"), row.now().fingerprint
    row.restart()
    row = done(row)
    assert (row.status, files.toplevel("iris"), row.fingerprint) == ("running", before, good)
    assert good != NIX.fingerprint(row.spec()), "so that the row is seen to be stale"


def test_a_rebuild_that_changes_nothing_touches_nothing(nixos):
    row = spawned()
    nixos.forget()
    pid = nixos.pid("h-iris")
    rebuilt(row, "")
    assert nixos.pid("h-iris") == pid
    assert nixos.calls("systemctl", "reload") == nixos.calls("systemctl", "-M") == []


def test_a_build_that_takes_too_long_is_ended(nixos, settings):
    settings.HIVE_BUILD_TIMEOUT = 0
    row = spawned(source="{ SLOW }")
    assert "did not end within 0 s" in row.error
    assert not files.conf("iris")


def test_a_build_that_nobody_wants_any_more_is_ended(nixos):
    def give_up(words: str) -> None:
        raise steps.Superseded

    spec = dataclasses.replace(Container.spawn("iris").spec(), source="{ SLOW }", say=give_up)
    begun = time.monotonic()
    with pytest.raises(steps.Superseded):
        NIX.prepare(spec)
    assert time.monotonic() - begun < 20
    assert NIX.known_to_fail(spec) == "", "it did not fail"


def test_one_build_at_a_time(nixos, monkeypatch):
    at_once, most = [], []

    def build(spec):
        at_once.append(spec.name)
        most.append(len(at_once))
        time.sleep(0.3)
        at_once.remove(spec.name)
        return f"{files.STORE}/{'0' * 32}-x"

    monkeypatch.setattr(nixos_build, "_build", build)
    said = []
    specs = [dataclasses.replace(Container.spawn(name).spec(), say=said.append) for name in ("one", "two", "three")]
    for spec in specs:
        NIX._make_places(spec)
    threads = [threading.Thread(target=nixos_build.built, args=(spec,)) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert "waiting for another build to end" in said


# ---- crashes ----------------------------------------------------------------------------------------------------------


def test_a_create_that_died_half_way_is_taken_up_as_an_update(nixos):
    """It leaves its .conf behind, and a second create would be refused."""
    row = Container.spawn("iris")
    (nixos.root / "etc/nixos-containers").mkdir(parents=True)
    (nixos.root / "etc/nixos-containers/h-iris.conf").write_text("PRIVATE_NETWORK=1\nHOST_ADDRESS=10.233.1.1\n")
    (nixos.root / "nix/var/nix/profiles/per-container/h-iris").mkdir(parents=True)
    row = done(row)
    assert (row.status, row.error) == ("running", "")
    assert "HOST_ADDRESS=\n" in conf(nixos)


def test_a_crash_between_the_profile_and_the_reload_is_made_good(nixos):
    row = spawned()
    Container.objects.filter(pk="iris").update(source=OPUS)
    row.refresh_from_db()
    system = nixos_build.built(row.spec())
    os.symlink(system, files.profile("iris").parent / "system-2-link")
    files.profile("iris").unlink()
    os.symlink("system-2-link", files.profile("iris"))
    nixos.forget()
    row.rebuild()
    row = done(row)
    assert len(nixos.calls("systemctl", "reload")) == 1
    assert row.fingerprint == NIX.fingerprint(row.spec())


def test_a_stop_that_does_not_work_ends_in_a_kill(nixos):
    spawned()
    nixos.fail("systemctl-stop", once=True)
    status = NIX.stop("iris")
    assert (status.state, status.exit_code, nixos.pid("h-iris")) == ("stopped", 137, 0)
    assert NIX.stop("iris").state == "stopped"
    calls = verbs(nixos)
    assert calls.index("systemctl stop") < calls.index("systemctl kill"), "systemd would start a killed one again"


# ---- how it is --------------------------------------------------------------------------------------------------------


def test_its_end_is_noticed_by_a_descriptor(nixos):
    spawned()
    assert NIX.list() == ["iris"]
    fd = NIX.watch("iris")
    os.close(fd)
    os.kill(nixos.pid("h-iris"), 9)
    assert NIX.wait("iris", 10).state == "stopped"
    assert until(lambda: NIX.status("iris").exit_code == 137)
    assert NIX.watch("iris") is None
    assert NIX.list() == []


def test_containers_of_others_are_not_ours(nixos):
    spawned()
    foreign = nixos.root / "etc/nixos-containers/h-web.conf"
    foreign.write_text("PRIVATE_NETWORK=1\nFLAKE=path:/home/me/web\n")
    assert files.ours() == ["iris"]
    assert work.unknown() == []


def test_what_was_never_there_is_absent(nixos):
    assert NIX.status("nobody").state == "absent"
    assert NIX.stop("nobody").state == NIX.kill("nobody").state == "absent"
    NIX.destroy("nobody")
    assert NIX.logs("nobody") == ("", 0)
    assert NIX.watch("nobody") is None


def test_its_log_is_the_journals_in_pages(nixos):
    spawned()
    at = 1_700_000_000_000_000
    nixos.says("hive-harness.service", "one", "two", "three", at=at)
    assert NIX.logs("iris") == ("one\ntwo\nthree\n", at + 2)
    assert NIX.logs("iris", at, 5) == ("two\n", at + 1)
    assert NIX.logs("iris", at + 1) == ("three\n", at + 2)
    assert NIX.logs("iris", at + 2) == ("", at + 2)
    assert NIX.logs("iris", most=4)[0] == "ree\n"


def test_before_its_harness_runs_its_log_is_the_containers(nixos):
    spawned()
    nixos.says("container@h-iris.service", "stage 2 failed")
    assert NIX.logs("iris")[0] == "stage 2 failed\n"


def test_a_hello_counts_only_since_the_harness_was_started(nixos):
    row = spawned()
    first = row.now().started_at
    row = rebuilt(row, OPUS)
    assert row.now().started_at > first, "a reload starts the harness anew, so an old hello proves nothing"


def test_without_its_tools_it_says_what_is_missing(nixos, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "needs nixos-container, nix, nix-env" in NIX.probe()
