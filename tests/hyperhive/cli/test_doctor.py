"""`hive doctor` with a hive and without one."""

import json

from .fake_host import HOSTILE, finished, on_a_terminal


def finding(check, state, found="as it should be", fix=""):
    return {"check": check, "state": state, "found": found, "fix": fix}


def result(*checks):
    mends = any(one["state"] == "mend" for one in checks)
    return {"version": "0.1.0", "running": True, "level": "B", "ok": not mends, "checks": list(checks)}


def test_what_is_to_be_mended_stands_with_its_fix_and_ends_with_1(host, hive):
    host.answers["doctor"] = result(finding("git", "ok"), finding("clock", "mend", "it is behind", "set it"))
    found = hive("doctor")
    lines = [line.split() for line in found.out.splitlines()]
    assert found.code == 1
    assert ["✖", "clock", "it", "is", "behind"] in lines
    assert ["→", "set", "it"] in lines
    assert found.out.splitlines()[-1].endswith("a hive is running, isolation level B: 1 to mend")
    assert hive("doctor", "-q").out == "clock\n"
    assert hive("doctor", "--json").json() == {"schema": 1, **host.answers["doctor"]}


def test_nothing_to_mend_ends_with_0(host, hive):
    host.answers["doctor"] = result(finding("git", "ok"), finding("nix", "note", "there is none"))
    found = hive("doctor")
    assert (found.code, found.out.splitlines()[-1].rpartition(": ")[2]) == (0, "nothing to mend")


def test_on_a_narrow_terminal_no_fix_is_cut_off(host):
    fix = "free some space, or set HIVE_STATE_DIR to a directory on a larger disk, whichever is done sooner"
    host.answers["doctor"] = result(finding("disk", "mend", "3 MiB left at /var/lib/hyperhive", fix + HOSTILE))
    code, shown = on_a_terminal(host, "doctor", typed=b"", env={"TERM": "dumb", "COLUMNS": "80"})
    words = " ".join(shown.split())
    assert code == 1
    assert fix in words
    assert "\x1b]" not in shown


def test_without_a_hive_this_machine_is_looked_at(tmp_path):
    env = {"HIVE_BIND": "127.0.0.1:0", "HIVE_STATE_DIR": str(tmp_path / "none")}
    found = finished(tmp_path, "doctor", "--json", env=env)
    said = json.loads(found.out)
    assert (said["schema"], said["running"], found.err) == (1, False, "")
    assert found.code == (0 if said["ok"] else 1)
    assert not (tmp_path / "none").exists()
