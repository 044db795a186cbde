"""`hive top`: looks, changes nothing, and leaves the terminal as it was."""

import os
import pty
import select
import termios
import time

from .fake_host import HOSTILE, approval, container, message, process


def answers(host):
    host.answers["list"] = {"agents": [container("scout", why=HOSTILE), container("forge", state="failing", inbox=3)]}
    host.answers["approvals"] = {"approvals": [approval(7)]}
    host.answers["messages"] = {"messages": [message(1, body=HOSTILE)], "last": 1}


def test_once_is_a_page_of_text(host, hive):
    answers(host)
    found = hive("top", "--once")
    assert found.code == 0
    assert "2 of 2 up" in found.out
    assert "3 messages wait" in found.out
    assert "1 wait for you" in found.out
    assert "\x1b" not in found.out


def test_it_needs_a_terminal(host, hive):
    answers(host)
    assert hive("top").code == 2
    assert "--once" in hive("top").err
    assert hive("top", "--json").code == 2


def test_it_shows_what_changes_and_q_leaves_the_terminal_as_it_was(host):
    answers(host)
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with process(host.path, "top", stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm"}) as child:
        shown = read_until(ours, b"failing")
        host.answers["list"] = {"agents": [container("newcomer")]}
        shown += read_until(ours, b"newcomer")
        os.write(ours, b"q")
        assert child.wait(20) == 0
    shown += drained(ours)
    assert termios.tcgetattr(theirs) == before
    assert b"\x1b[?1049h" in shown
    assert b"\x1b[?1049l" in shown
    assert b"\x1b]52" not in shown
    assert {verb for verb, _ in host.calls} == {"list", "approvals", "messages"}
    os.close(ours)
    os.close(theirs)


def read_until(terminal, words):
    shown, until = b"", time.monotonic() + 30
    while words not in shown:
        assert time.monotonic() < until, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536)
    return shown


def drained(terminal):
    shown = b""
    while select.select([terminal], [], [], 0.2)[0]:
        shown += os.read(terminal, 65536)
    return shown
