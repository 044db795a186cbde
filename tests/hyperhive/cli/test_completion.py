"""`hive completion`: the shells themselves complete verbs, options and agents' names."""

import os
import shutil
import subprocess
import sys

import pytest

from .fake_host import PROJECT, container, finished


def completed(host, tmp_path, *words):
    """What bash offers for the last of the words."""
    bin_ = tmp_path / "bin"
    bin_.mkdir(exist_ok=True)
    (bin_ / "hive").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROJECT}/manage.py" hive "$@"\n')
    (bin_ / "hive").chmod(0o755)
    script = finished(host.path, "completion", "bash").out
    asked = " ".join(f"'{word}'" for word in words)
    line = f'{script}\nCOMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _hive; printf "%s\\n" "${{COMPREPLY[@]}}"'
    env = {"PATH": f"{bin_}:{os.environ['PATH']}", "HIVE_RUNTIME_DIR": str(host.path), "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_verbs_options_and_names(host, tmp_path):
    host.answers["list"] = {"agents": [container("scout"), container("scribe"), container("forge")]}
    assert completed(host, tmp_path, "hive", "de") == ["demo", "destroy", "deny"]
    assert completed(host, tmp_path, "hive", "destroy", "--pu") == ["--purge"]
    assert completed(host, tmp_path, "hive", "--json", "destroy", "sc") == ["scout", "scribe"]
    assert completed(host, tmp_path, "hive", "export", "mes") == ["messages"]


def test_without_a_hive_it_offers_no_names_and_says_nothing(host, tmp_path):
    host.path = tmp_path / "nowhere"
    host.path.mkdir()
    assert completed(host, tmp_path, "hive", "destroy", "sc") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_reads_its_script(hive, shell):
    found = hive("completion", shell)
    assert found.code == 0
    assert "destroy" in found.out
    if binary := shutil.which(shell):
        done = subprocess.run([binary, "-n"], input=found.out, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")


def test_another_shell_is_answered(hive):
    assert hive("completion", "basch").code == 2
