"""Twenty thousand strings through every view: not one byte of them moves a cursor, and none ends a command."""

import io
from contextlib import redirect_stdout

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperhive.cli import doctor, export, looks
from hyperhive.cli.terminal import Terminal

from .fake_host import act, approval, container, event, hit, message, then, turn

# All of Unicode, with what is dangerous in a terminal more often than chance would have it.
SHARP = "\x00\x07\x08\x0b\x0c\r\x1b\x7f\x80\x84\x85\x90\x9b\x9d\u200b\u200e\u2028\u2029\u202e\u2066\ufeff\U000e0041[];m"
CHARACTERS = st.one_of(st.sampled_from(SHARP), st.characters(codec="utf-8"))
ALLOWED = {"\n", "\t"}


def views(text: str) -> None:
    out = Terminal()
    out.result({"agents": [container(why=text, error=text, step=text)]}, looks.agents, lambda _: [text])
    out.result(container(why=text, config={text: text}), looks.agent, lambda _: [text])
    out.result({"messages": [message(body=text, reason=text)]}, looks.messages, lambda _: [text])
    out.result({"messages": [message(body=text)]}, looks.letters, lambda _: [text])
    out.result({"events": [event(kind=text, payload={"text": text})]}, looks.events, lambda _: [text])
    out.result({"turns": [turn(error=text, model=text, outcome=text)]}, looks.turns, lambda _: [text])
    out.result(approval(why=text, content=text, reason=text), looks.approval, lambda _: [text])
    finding = {"check": text, "state": "mend", "found": text, "fix": text}
    out.result({"version": text, "running": True, "level": text, "checks": [finding]}, doctor.look, lambda _: [text])
    out.result({"name": "scout", "state": "idle", "why": text, "fix": text}, looks.why, lambda _: [text])
    out.result({"approvals": [approval(why=text)]}, looks.approvals, lambda _: [text])
    out.result({"history": [{"rev": text, "at": then(), "by": text, "message": text}]}, looks.history, lambda _: [text])
    out.result({"hits": [hit(title=text, text=text)]}, looks.found, lambda _: [text])
    out.result({"acts": [act(by=text, target=text, words=text)]}, looks.acts, lambda _: [text])
    out.result({"text": text}, looks.logs, lambda _: [text])
    out.text(text)
    Terminal(quiet=True).result({}, looks.agents, lambda _: [text])
    Terminal(as_json=True).result({"text": text}, looks.agents, lambda _: [text])
    for line in export.as_csv()(message(body=text)):
        print(line)
    for line in export.markdown()({**turn(error=text, model=text), "agent": "scout", "events": [event(kind=text)]}):
        print(line)


# Each text stands in nineteen views: 1,200 texts are more than twenty thousand strings on their way to a terminal.
@settings(max_examples=1200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.text(CHARACTERS, min_size=1, max_size=40))
def test_no_view_lets_a_control_through(text: str) -> None:
    shown = io.StringIO()
    with redirect_stdout(shown):
        views(text)
    left = {char for char in shown.getvalue() if (ord(char) < 32 or 127 <= ord(char) < 160) and char not in ALLOWED}
    assert left == set()
    assert not any(char in shown.getvalue() for char in "\u202e\u2066\u2028\u200b\ufeff")
