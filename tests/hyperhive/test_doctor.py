"""What the doctor finds: each check with what mends it, and a sound machine with nothing to mend."""

import os
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.cli import WANTED
from hyperhive import doctor
from hyperhive.doctor import MEND, NOTE, OK, Finding
from lifecycle import cli, drivers

ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def place(settings, tmp_path):
    """A state directory as the hive leaves it, ports that are free, and no driver asked for."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (tmp_path / "run").mkdir(mode=0o755)
    for name in ("secret_key", "hive.sqlite3"):
        (state / name).write_text("x")
        (state / name).chmod(0o600)
    settings.HIVE_STATE_DIR, settings.HIVE_RUNTIME_DIR = state, tmp_path / "run"
    settings.HIVE_BIND, settings.HIVE_MANAGER_PORT, settings.HIVE_DRIVER = "127.0.0.1:0", "", ""
    return state


def found(check, running=False) -> list[Finding]:
    return list(check(running))


def to_mend(check, running=False) -> list[Finding]:
    mend = [one for one in found(check, running) if one.state == MEND]
    assert all(one.fix for one in mend), mend
    return mend


def test_every_check_has_something_to_say_and_a_fix_for_what_is_to_be_mended(settings):
    settings.HIVE_BIND = "127.0.0.1:x"
    result = doctor.examine(running=False)
    assert not result["ok"]
    assert {one["check"].split()[0] for one in result["checks"]} == {
        "driver", "isolation", "claude", "git", "nix", "cgroups", "disk_max", "ports", "disk", "clock", "state",
    }  # fmt: skip
    assert all(one["fix"] for one in result["checks"] if one["state"] == MEND)


def test_a_driver_that_does_not_work_is_to_be_mended_only_where_it_was_asked_for(settings, monkeypatch):
    broken = SimpleNamespace(probe=lambda: "Driver bwrap needs bubblewrap: install it.", by_default=lambda: True)
    monkeypatch.setitem(drivers.DRIVERS, "bwrap", broken)
    assert to_mend(doctor.of_drivers) == []
    settings.HIVE_DRIVER = "bwrap"
    assert to_mend(doctor.of_drivers) == [Finding("driver bwrap", MEND, "needs bubblewrap", "install it")]
    settings.HIVE_DRIVER = "vmware"
    assert to_mend(doctor.of_drivers)[0].found == "HIVE_DRIVER names vmware"


def test_a_level_that_stops_no_attacker_is_to_be_mended_unless_the_agents_are_trusted(settings):
    settings.HIVE_DRIVER = "process"
    assert "level D" in to_mend(doctor.of_isolation)[0].found
    settings.HIVE_TRUST_AGENTS = True
    assert to_mend(doctor.of_isolation) == []


@pytest.mark.parametrize(("version", "state"), [(WANTED, OK), ("2.1.999", NOTE)])
def test_another_claude_than_the_tested_one_is_pointed_out(monkeypatch, version, state):
    monkeypatch.setattr(cli, "usable", lambda: Path("/x/claude"))
    monkeypatch.setattr(cli, "version", lambda: version)
    assert [one.state for one in found(doctor.of_claude)] == [state]


def test_no_claude_is_to_be_mended(monkeypatch, settings):
    settings.HIVE_CLAUDE = "/nowhere/claude"
    assert "no program" in to_mend(doctor.of_claude)[0].found


@pytest.mark.parametrize(("said", "what"), [("", "there is none"), ("git version 2.30.1", "older than 2.39")])
def test_git_is_needed_and_not_an_old_one(monkeypatch, said, what):
    monkeypatch.setattr(doctor, "_said", lambda *argv: said)
    assert what in to_mend(doctor.of_git)[0].found


def test_a_version_with_odd_parts_is_read_all_the_same(monkeypatch):
    monkeypatch.setattr(doctor, "_said", lambda *argv: "git version 2.50.0.windows.1")
    assert to_mend(doctor.of_git) == []


def test_where_agents_can_fill_the_disk_it_says_why_and_who(settings, monkeypatch, place):
    monkeypatch.setattr(doctor.room, "missing", lambda driver: "")
    assert found(doctor.of_rooms)[0].fix == "set HIVE_AGENT_DISK_MAX to what each agent may fill, such as 10G"
    settings.HIVE_AGENT_DISK_MAX = "20G"
    assert found(doctor.of_rooms) == [
        Finding("disk_max", OK, "each agent may fill 20.0 GiB of the disk, if it is not told otherwise")
    ]
    (place / "homes" / "old" / "workspace").mkdir(parents=True)
    assert "held to none: old" in found(doctor.of_rooms)[1].found
    (place / "rooms").mkdir()
    with open(place / "rooms" / "new.img", "wb") as file:
        file.truncate(1 << 43)
    assert "agents may fill 8192.0 GiB in all, of a disk that has" in found(doctor.of_rooms)[1].found
    monkeypatch.setattr(doctor.room, "missing", lambda driver: "only root can: start the daemon as root")
    assert found(doctor.of_rooms)[0] == Finding(
        "disk_max", NOTE, "agents can fill the disk: only root can", "start the daemon as root"
    )


def test_without_cgroups_there_are_no_limits_and_it_says_so(monkeypatch):
    held = SimpleNamespace(lacking=lambda: [])
    monkeypatch.setattr(doctor, "cgroups", lambda: held)
    assert [one.state for one in found(doctor.of_cgroups)] == [OK]
    monkeypatch.setattr(held, "lacking", lambda: ["memory_max"])
    assert "held to memory_max" in found(doctor.of_cgroups)[0].found


def test_a_port_that_another_holds_is_to_be_mended_and_our_own_is_not(settings):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        settings.HIVE_BIND = f"127.0.0.1:{holder.getsockname()[1]}"
        assert "is taken" in to_mend(doctor.of_ports)[0].found
        assert to_mend(doctor.of_ports, running=True) == []
    assert to_mend(doctor.of_ports) == []


@pytest.mark.parametrize(
    ("left", "files", "state"),
    [(1 << 40, 9999, OK), (1 << 29, 9999, NOTE), (1 << 20, 9999, MEND), (1 << 40, 5, MEND)],
)
def test_a_disk_that_fills_up_is_noted_before_it_is_full(monkeypatch, left, files, state):
    disk = SimpleNamespace(f_bavail=left // 4096, f_frsize=4096, f_favail=files, f_files=10_000)
    monkeypatch.setattr(doctor.os, "statvfs", lambda path: disk)
    assert found(doctor.of_disk)[0].state == state


def test_a_state_directory_on_a_network_is_to_be_mended(monkeypatch, tmp_path, place):
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n/dev/sdb {place}x ext4 rw 0 0\n"
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(doctor, "MOUNTS", tmp_path / "mounts")
    assert "on nfs4" in to_mend(doctor.of_disk)[0].found


def test_a_clock_behind_the_hives_own_files_is_to_be_mended(place):
    assert to_mend(doctor.of_clock) == []
    os.utime(place / "hive.sqlite3", (time.time() + 7200,) * 2)
    assert "2.0 hours before" in to_mend(doctor.of_clock)[0].found


def test_a_sound_state_directory_is_as_it_should_be(place):
    assert [one.state for one in found(doctor.of_state)] == [OK]


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda state: state.chmod(0o755), "others can get at"),
        (lambda state: (state.parent / "run").chmod(0o777), "others can get at"),
        (lambda state: state.rename(state.parent / "x") and state.symlink_to(state.parent / "x"), "is a link"),
    ],
)
def test_a_state_directory_that_others_get_at_is_to_be_mended(place, spoil, what):
    spoil(place)
    assert what in to_mend(doctor.of_state)[0].found


def test_a_secret_that_others_read_is_to_be_mended_where_the_directory_lets_them_in(place):
    (place / "secret_key").chmod(0o644)
    assert to_mend(doctor.of_state) == []
    place.chmod(0o711)
    assert [one.found for one in to_mend(doctor.of_state)] == [
        f"others can get at {place} (mode 0711)", f"others can get at {place / 'secret_key'} (mode 0644)",
    ]  # fmt: skip


@pytest.mark.skipif(not ROOT, reason="needs to be root")
def test_a_state_directory_of_somebody_else_is_to_be_mended(place):
    os.chown(place, 1_900_000_001, -1)
    assert to_mend(doctor.of_state)[0].fix == f"chown 0 {place}"


def test_what_a_check_advises_for_the_state_directory_mends_it(place):
    place.chmod(0o755)
    subprocess.run(to_mend(doctor.of_state)[0].fix.split(), check=True)
    assert to_mend(doctor.of_state) == []
