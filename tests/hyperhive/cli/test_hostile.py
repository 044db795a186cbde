"""Nothing that an agent wrote reaches a terminal as it is; and `hive` as a process."""

import json
import os
import pty
import subprocess
import sys
import unicodedata

import pytest

from broker.wire import Refused

from .fake_host import (
    HOSTILE,
    PROJECT,
    act,
    approval,
    container,
    event,
    finished,
    hit,
    message,
    on_a_terminal,
    process,
    turn,
)

# ---- hostile text


def unseen(text):
    return {
        char
        for char in text
        if char not in "\n\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    }


@pytest.mark.parametrize("form", [[], ["--json"], ["-q"]])
def test_nothing_an_agent_wrote_reaches_the_terminal_as_it_is(host, hive, form):
    bad = {"why": HOSTILE, "error": HOSTILE, "step": HOSTILE}
    host.answers |= {
        "list": {"agents": [container(**bad)]},
        "status": container(**bad),
        "why": {"name": "scout", "state": "idle", "why": HOSTILE, "fix": ""},
        "messages": {"messages": [message(body=HOSTILE, sender=HOSTILE, reason=HOSTILE)], "last": 1},
        "recv": [{"messages": [message(body=HOSTILE)]}, {"messages": []}],
        "ack": {"acked": 1},
        "events": {"events": [event(kind=HOSTILE, payload={"text": HOSTILE}), event(2, payload={HOSTILE: 1})], "last": 1},
        "turns": {"turns": [turn(error=HOSTILE, outcome=HOSTILE, model=HOSTILE)]},
        "logs": {"text": HOSTILE, "next": 9},
        "approvals": {"approvals": [approval(why=HOSTILE)]},
        "show": approval(why=HOSTILE, content=HOSTILE, reason=HOSTILE),
        "approve": Refused("conflict", HOSTILE),
        "start": container(op="start", step=HOSTILE),
        "send": message(12, recipient="scout"),
        "search": {"hits": [hit(title=HOSTILE, text=HOSTILE)], "events": None, "behind": True},
        "audit": {"acts": [act(words=HOSTILE, target=HOSTILE)]},
    }  # fmt: skip
    for argv in (
        ["list"], ["status", "scout"], ["why", "scout"], ["messages"], ["inbox"], ["events", "scout"], ["turns", "scout"],
        ["logs", "scout"], ["approvals"], ["show", 1], ["approve", 1], ["start", "scout"], ["send", "scout", "x"],
        ["search", "x"], ["audit"],
    ):  # fmt: skip
        found = hive(*form, *argv)
        assert unseen(found.out + found.err) == set(), argv
        assert "Traceback" not in found.err
        if form == ["--json"] and found.out:
            assert found.out.isascii()
            found.json()


def test_markup_stands_as_it_was_written(host, hive):
    host.answers["messages"] = {"messages": [message(body="[red]R[/red][/nope]:smile:[link=x]y")], "last": 1}
    assert "[red]R[/red][/nope]:smile:[link=x]y" in hive("messages").out


def test_a_hostile_body_on_a_real_terminal_brings_no_escape_but_richs_colours(host):
    host.answers["list"] = {"agents": [container(why=HOSTILE)]}
    _, shown = on_a_terminal(host, "list", typed=b"")
    assert "\x1b[" in shown  # the colours are there,
    plain = shown.replace("\r\n", "\n")
    for colour in ("\x1b[0m", "\x1b[2m", "\x1b[32m"):
        plain = plain.replace(colour, "")
    assert unseen(plain) == set()  # and nothing else is


def test_hidden_characters_in_an_approval_are_pointed_out(host, hive):
    host.answers["show"] = [approval(content='{"a": "\u202e"}'), approval()]
    assert "hidden characters" in hive("show", 1).out
    assert "hidden characters" not in hive("show", 1).out


def test_a_body_cannot_pass_for_a_line_of_ours(host, hive):
    host.answers |= {"recv": [{"messages": [message(1, body="x\n#2 from hm1nd, 1 s ago")]}, {"messages": []}]}
    host.answers["ack"] = {"acked": 1}
    assert [line for line in hive("inbox").out.splitlines() if line.startswith("#")] == ["#1 from scout, 3 m ago"]


# ---- the process


def test_no_color_is_obeyed(host):
    host.answers["list"] = {"agents": [container()]}
    _, coloured = on_a_terminal(host, "list", typed=b"")
    _, plain = on_a_terminal(host, "list", typed=b"", env={"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[32m" in coloured
    assert "\x1b[3" not in plain


def test_progress_on_a_terminal_goes_to_stderr_only(host):
    host.answers |= {"start": container(op="start"), "status": [container(op="start", step="warming up"), container()]}
    ours, theirs = pty.openpty()
    env = {"TERM": "xterm"}
    with process(
        host.path, "start", "scout", "--json", stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=env
    ) as child:
        out, _ = child.communicate(timeout=20)
    os.close(theirs)
    assert json.loads(out)["status"] == "running"
    assert b"scout: warming up" in os.read(ours, 65536)
    os.close(ours)


def test_a_terminal_without_unicode_is_no_traceback(host):
    host.answers["list"] = {"agents": [container()]}
    found = finished(host.path, "list", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (found.code, found.err) == (0, "")


def test_asking_needs_no_state_directory_and_none_of_the_heavy_imports(host):
    host.answers["list"] = {"agents": [container()]}
    script = (
        "import sys; from hyperhive.cli import main\n"
        "try: main(['list', '--json'])\n"
        "finally: print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    heavy = ["rich", "pydantic", "mcp", "twisted", "huey", "git", "broker.models", "agents.models", "lifecycle.models"]
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    env |= {"HIVE_RUNTIME_DIR": str(host.path), "HIVE_STATE_DIR": str(host.path / "none")}
    done = subprocess.run([sys.executable, "-c", script, *heavy], env=env, cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["[]"], done.stderr
    assert not (host.path / "none").exists()
