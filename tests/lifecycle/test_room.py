"""An agent's part of the disk: full at its size, grown and shrunk, taken up again by a later daemon, gone with a purge."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lifecycle import notes, paths, room, work
from lifecycle.config import AgentConfig
from lifecycle.drivers import DRIVERS
from lifecycle.models import Container
from tests.hives import mounted

from .conftest import until

WHY = room.probe()
pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(WHY), reason=f"rooms are not tried: {WHY}")]
MIB = 1 << 20
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scout(places):
    """Its room, 64 MiB large. Whatever is mounted below the test's directory afterwards is unmounted."""
    one = room.of("scout")
    room.furnish(one, 64 * MIB)
    yield one
    for place in sorted(mounted(places), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path, most: int) -> int:
    """How many bytes fit, of `most` at most."""
    with open(place / "filling", "wb") as file:
        try:
            for had in range(0, most, MIB):
                os.posix_fallocate(file.fileno(), had, MIB)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return had
    return most


def capacity(one: room.Room) -> int:
    facts = os.statvfs(one.place)
    return facts.f_blocks * facts.f_frsize


def test_all_that_it_writes_is_one_part_of_the_disk(scout):
    assert 40 * MIB < fill(paths.state_dir("scout"), 80 * MIB) < 64 * MIB
    assert fill(scout.place, 80 * MIB) == 0
    flags = os.statvfs(paths.state_dir("scout")).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV


def test_what_is_not_used_takes_no_place_and_what_is_deleted_is_given_back(scout):
    assert scout.image.stat().st_blocks * 512 < 12 * MIB
    (scout.place / "much").write_bytes(os.urandom(20 * MIB))
    os.sync()
    assert scout.image.stat().st_blocks * 512 > 20 * MIB
    (scout.place / "much").unlink()
    os.sync()
    until(lambda: scout.image.stat().st_blocks * 512 < 12 * MIB)


def test_a_new_size_keeps_what_is_there(scout):
    (paths.state_dir("scout") / "note").write_text("kept")
    room.furnish(scout, 128 * MIB)
    assert capacity(scout) > 100 * MIB
    room.furnish(scout, 64 * MIB)
    assert capacity(scout) < 64 * MIB
    assert notes.read("scout", "note") == "kept"


def test_it_does_not_become_smaller_than_what_it_holds(scout):
    room.furnish(scout, 128 * MIB)
    (scout.place / "much").write_bytes(os.urandom(80 * MIB))
    with pytest.raises(room.NoRoom, match="resize2fs"):
        room.furnish(scout, 64 * MIB)
    room.furnish(scout, 0)
    assert (scout.place / "much").stat().st_size == 80 * MIB
    assert capacity(scout) > 100 * MIB


@pytest.fixture
def held(scout):
    """Another process has the room among mounts of its own, as a running agent has: yields a path to it."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        yield Path(f"/proc/{holder.pid}/root{scout.place}")
        holder.kill()


def test_a_later_daemon_finds_the_very_files_that_a_running_agent_has(scout, held):
    for place in (paths.state_dir("scout"), scout.place):
        subprocess.run(["umount", place], check=True)
    (held / "state" / "note").write_text("written meanwhile")
    assert room.furnish_all(["scout", "nobody"]) == []
    assert notes.read("scout", "note") == "written meanwhile"
    (paths.state_dir("scout") / "answer").write_text("seen")
    assert (held / "state" / "answer").read_text() == "seen"


def test_it_keeps_its_size_while_somebody_uses_it(scout, held):
    room.furnish(scout, 128 * MIB)
    assert capacity(scout) < 64 * MIB
    assert (held / "state").is_dir()


def test_a_daemon_with_mounts_of_its_own_makes_them_where_the_host_sees_them(scout, places):
    """As a unit of systemd's is with ProtectSystem= or PrivateTmp=."""
    script = textwrap.dedent("""
        import os, sys, django
        django.setup()
        from lifecycle import paths, room
        room.HOST = f"/proc/{os.getppid()}/ns/mnt"
        room.furnish(room.of("iris"), 64 << 20)
        (paths.state_dir("iris") / "note").write_text("here")
    """)
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "hyperhive.settings", "PYTHONPATH": str(PROJECT)}
    env |= {
        "HIVE_STATE_DIR": str(places / "state"),
        "HIVE_RUNTIME_DIR": str(places / "rt"),
        "STATE": str(places / "state"),
    }
    # A host whose mounts are shared, and in it a unit that can write below its state directory alone.
    unit = 'mount -o bind "$STATE" "$STATE"; mount -o remount,bind,ro /; exec "$0" -c "$1"'
    host = """
        unshare --mount --propagation slave sh -c "$2" "$0" "$1" || exit 1
        cat "$STATE/agents/iris/state/note"
        grep -c "$STATE/.*ext4 rw,nosuid,nodev" /proc/mounts
    """
    argv = ["unshare", "--mount", "--propagation", "shared", "sh", "-c", host, sys.executable, script, unit]
    done = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True)
    assert done.stdout == "here4\n", done.stderr


def test_an_agent_of_before_keeps_its_directories_and_is_named(scout):
    paths.workspace_dir("old").mkdir(parents=True)
    room.furnish(room.of("old"), 64 * MIB)
    assert not os.path.ismount(paths.home_dir("old"))
    assert room.unbounded() == ["old"]


def test_the_proposed_repositories_are_bounded_too(scout, settings, db):
    settings.HIVE_DRIVER, settings.HIVE_AGENT_DISK_MAX = "bwrap", "64M"
    work.rooms()
    assert fill(paths.proposed_dir(), 80 * MIB) < 64 * MIB


def test_where_it_is_full_it_says_so_and_what_helps(scout):
    assert room.complaint("scout") == room.complaint("nobody") == ""
    fill(scout.place, 80 * MIB)
    assert f"is full: make disk_max larger, or delete something below {scout.place}" in room.complaint("scout")
    (scout.place / "filling").unlink()
    assert room.complaint("scout") == ""
    for number in range(20_000):
        try:
            (scout.place / f"file-{number}").touch()
        except OSError:
            break
    assert "is full" in room.complaint("scout"), "of files, too"


def test_a_purge_gives_it_back_and_says_how_much_it_held(scout):
    (scout.place / "much").write_bytes(bytes(MIB))
    done = room.remove(scout)
    assert done
    assert done.bytes > MIB
    assert not scout.image.exists()
    assert not os.path.ismount(scout.place)
    until(lambda: not subprocess.run(["losetup", "-j", scout.image], capture_output=True).stdout)
    assert room.remove(scout) is None


@pytest.mark.bwrap
@pytest.mark.parametrize("driver", ["bwrap", "nspawn"])
def test_an_agent_of_a_driver_is_held_to_it_and_rebuilt_for_another_size(scout, agent, driver):
    if missing := DRIVERS[driver].probe():
        pytest.skip(missing)
    spec = agent("dd if=/dev/zero of=/state/big bs=1M count=80; echo ready; sleep 600 & wait", disk_max="64M")
    DRIVERS[driver].prepare(spec)
    DRIVERS[driver].start(spec)
    until(lambda: "ready" in DRIVERS[driver].logs("scout")[0])
    assert "No space left" in DRIVERS[driver].logs("scout")[0]
    larger = agent(spec.command[2], disk_max="128M")
    assert DRIVERS[driver].update(larger), "it has to be started anew"
    DRIVERS[driver].stop("scout", 0)
    DRIVERS[driver].prepare(larger)
    assert capacity(scout) > 100 * MIB


@pytest.mark.bwrap
@pytest.mark.django_db(transaction=True)
def test_a_purged_agent_leaves_no_mount_behind(scout, payload, settings, places):
    settings.HIVE_DRIVER, settings.HIVE_AGENT_DISK_MAX = "bwrap", "64M"
    work.start()
    Container.spawn("iris")
    until(lambda: Container.objects.get(pk="iris").status == "running", 30)
    assert os.path.ismount(paths.home_dir("iris"))
    Container.objects.get(pk="iris").destroy(purge=True)
    until(lambda: Container.objects.get(pk="iris").op == "", 30)
    assert str(paths.image("iris")) in [one["path"] for one in Container.objects.get(pk="iris").purged]
    assert not any("iris" in place for place in mounted(places))


def test_a_size_that_is_of_no_use_is_refused():
    with pytest.raises(Exception, match="less than the 64M"):
        AgentConfig.read({"disk_max": "1M"})
