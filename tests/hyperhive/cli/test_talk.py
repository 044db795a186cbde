"""Messages and what is followed."""

import json
import signal
import subprocess
import time
import uuid

from .fake_host import event, message, process

# ---- talking


def test_send_prints_the_number_and_carries_an_id_of_its_own(host, hive):
    host.answers["send"] = message(12, recipient="scout")
    found = hive("send", "scout", "hello")
    assert found.out == "#12 to scout: queued\n"
    [said] = host.said("send")
    assert (said["to"], said["body"], uuid.UUID(said["cid"]).version) == ("scout", "hello", 7)


def test_send_and_wait_prints_the_reply_and_no_other_message(host, hive):
    host.answers["send"] = message(12, sender="operator", recipient="scout", chain="c12")
    pages = [
        [],
        [message(13, sender="owl", chain="c12"), message(14, chain="c99")],
        [message(15, chain="c12", body="done")],
    ]
    host.answers["messages"] = [{"messages": rows, "last": 0} for rows in pages]
    found = hive("send", "scout", "go", "--wait")
    assert (found.code, found.out) == (0, "done\n")
    assert [said["after"] for said in host.said("messages")] == [12, 12, 14]


def test_send_and_wait_fails_when_the_message_died(host, hive):
    host.answers["send"] = message(12, sender="operator", recipient="scout", chain="c12")
    told = message(13, sender="hive", reply_to=12, body="Your message #12 to scout was not delivered.")
    host.answers["messages"] = {"messages": [told], "last": 13}
    found = hive("send", "scout", "go", "--wait")
    assert (found.code, found.err) == (1, "hive: Your message #12 to scout was not delivered.\n")


def test_send_and_wait_gives_up(host, hive):
    host.answers |= {"send": message(12, recipient="scout"), "messages": {"messages": [], "last": 0}}
    assert hive("send", "scout", "go", "--wait", "--timeout", "0.3").code == 6


def test_inbox_acks_what_it_has_printed(host, hive):
    pages = [[message(1)], [message(2, body="two\nlines")], []]
    host.answers |= {"recv": [{"messages": rows} for rows in pages], "ack": {"acked": 2}}
    found = hive("inbox")
    assert "#1 from scout" in found.out
    assert "    two\n    lines\n" in found.out
    turns = {said["turn"] for said in host.said("recv")}
    assert len({said["key"] for said in host.said("recv")}) == 3
    assert host.said("ack") == [{"turn": turns.pop()}]
    assert not turns


def test_an_empty_inbox_acks_nothing_and_a_quiet_one_takes_nothing(host, hive):
    rows = [message(1, state="delivered"), message(2)]
    host.answers |= {"recv": {"messages": []}, "messages": {"messages": rows, "last": 2}}
    assert "nothing waits" in hive("inbox").err
    assert hive("inbox", "-q").out == "2\n"
    assert [verb for verb, _ in host.calls] == ["recv", "messages"]


# ---- following


def lines_of(host, *argv, count):
    """The first lines of something that goes on for ever, which Ctrl-C then ends."""
    piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with process(host.path, *argv, **piped) as child:
        lines = [child.stdout.readline() for _ in range(count)]
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=10)
    return lines, child.returncode, err


def test_followed_rows_are_json_lines_and_ctrl_c_exits_130(host):
    def pages(params):
        new = {None: [event(1), event(2)], 102: [event(3)]}.get(params.get("after"), [])
        return {"events": new, "last": new[-1]["id"] if new else params["after"]}

    host.answers["events"] = pages
    lines, code, err = lines_of(host, "--json", "events", "-f", "scout", count=3)
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert all(json.loads(line)["schema"] == 1 for line in lines)
    assert (code, err) == (130, "")


def test_a_followed_log_goes_on_where_it_was(host):
    host.answers["logs"] = lambda params: {None: {"text": "one\ntw", "next": 6}, 6: {"text": "o\n", "next": 8}}.get(
        params.get("after"), {"text": "", "next": 8}
    )
    lines, code, _ = lines_of(host, "logs", "-f", "scout", count=2)
    assert (lines, code) == (["one\n", "two\n"], 130)


def test_a_followed_inbox_acks_each_message(host):
    def recv(params):
        time.sleep(0.05)
        return {"messages": [message(len(host.said("recv")))]}

    host.answers |= {"recv": recv, "ack": {"acked": 1}}
    lines, code, _ = lines_of(host, "--json", "inbox", "-f", count=2)
    assert [json.loads(line)["id"] for line in lines] == [1, 2]
    assert code == 130
    assert host.said("ack")[0] == {"turn": host.said("recv")[0]["turn"]}


def test_a_reader_that_leaves_is_no_traceback(host):
    host.answers["events"] = lambda params: {"events": [event(n) for n in range(1, 50)], "last": 7}
    with process(host.path, "events", "-f", "scout", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == ""
        child.wait(timeout=10)
