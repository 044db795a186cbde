"""`hive completion`: the shells themselves complete verbs, options and agents' names."""

import os
import shutil
import subprocess
import sys

import pytest

from .fake_host import PROJECT, approval, container, finished


@pytest.fixture
def shell(host, tmp_path):
    """`shell(bash, "hive", "de")`: what that shell offers for the last of the words."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "hive").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROJECT}/manage.py" hive "$@"\n')
    (bin_ / "hive").chmod(0o755)

    def offers(how, *words):
        if shutil.which(how.__name__) is None:
            pytest.skip(f"no {how.__name__} here")
        env = {"PATH": f"{bin_}:{os.environ['PATH']}", "HIVE_RUNTIME_DIR": str(host.path), "HOME": str(tmp_path)}
        script = tmp_path / how.__name__
        script.write_text(finished(host.path, "completion", how.__name__).out)
        return how(script, words, env)

    return offers


def run(command, env, **how):
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True, **how)
    assert done.stderr == ""
    return done.stdout


def bash(script, words, env):
    asked = " ".join(f"'{word}'" for word in words)
    line = f'. {script}; COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _hive; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return run(["bash", "-c", line], env, cwd=env["HOME"]).split()


def fish(script, words, env):
    """Fish offers what it offers with what it is, a tab between."""
    line = f"source {script}; complete -C '{' '.join(words)}'"
    return [
        one.partition("\t")[0] for one in run(["fish", "--no-config", "-c", line], env, cwd=env["HOME"]).splitlines()
    ]


def zsh(script, words, env):
    """The function that a Tab calls, with bash's variables set; what does not begin so is left out by zsh itself after it."""
    asked = " ".join(f"'{word}'" for word in words)
    line = f'. {script}; COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _hive; print -rl -- "${{COMPREPLY[@]}}"'
    offered = run(["zsh", "-f", "-c", line], env, cwd=env["HOME"]).split()
    return [one for one in offered if one.startswith(words[-1])]


SHELLS = [bash, zsh, fish]


@pytest.mark.parametrize("how", SHELLS)
def test_a_shell_completes_verbs_options_values_and_names(host, shell, how):
    host.answers["list"] = {"agents": [container("scout"), container("scribe"), container("forge")]}
    host.answers["approvals"] = {"approvals": [approval(17), approval(18), approval(23)]}
    host.answers["users"] = {"users": [{"name": "anna", "role": "viewer", "last_login": None}]}
    expected = {
        ("hive", "de"): {"demo", "destroy", "deny"},
        ("hive", "destroy", "--pu"): {"--purge"},
        ("hive", "--json", "destroy", "sc"): {"scout", "scribe"},
        ("hive", "messages", "--to", "sc"): {"scout", "scribe"},
        ("hive", "export", "me"): {"messages"},
        ("hive", "export", "messages", "--format", "c"): {"csv"},
        ("hive", "deny", "1"): {"17", "18"},
        ("hive", "link", "an"): {"anna"},
        ("hive", "search", "from:sc"): {"from:scout", "from:scribe"},
        ("hive", "audit", "sc"): {"scout", "scribe"},
        ("hive", "link", "--role", "v"): {"viewer"},
    }
    assert {words: set(shell(how, *words)) for words in expected} == expected


@pytest.mark.parametrize("how", SHELLS)
def test_a_file_is_completed_where_one_is_wanted(host, shell, how, tmp_path):
    (tmp_path / "scout.toml").write_text("")
    host.answers["list"] = {"agents": []}
    assert "scout.toml" in shell(how, "hive", "spawn", "scout", "--config", "sc")
    assert shell(how, "hive", "destroy", "sc") == []


@pytest.mark.parametrize("how", SHELLS)
def test_without_a_hive_it_offers_no_names_and_says_nothing(host, shell, how, tmp_path):
    host.path = tmp_path / "nowhere"
    host.path.mkdir()
    assert shell(how, "hive", "destroy", "sc") == []


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
