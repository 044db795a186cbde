"""What an agent did, to take away: its events as lines, a turn as Markdown. Shown text is clean, NDJSON is as it was."""

import json
from collections.abc import Callable
from typing import NamedTuple

from broker.clean import clean, fenced

from .lines import line
from .models import Event, Turn

MOST = 2000  # events of a turn


class Form(NamedTuple):
    kind: str
    suffix: str
    line: Callable[[Event], str]


def ndjson(event: Event) -> str:
    return json.dumps({"schema": 1} | event.as_json()) + "\n"


def text(event: Event) -> str:
    shown = line(event)
    words = f"{event.at:%Y-%m-%d %H:%M:%S} {shown.label:12} {shown.text}\n"
    return words + "".join(f"    {part}\n" for part in shown.detail.splitlines())


FORMS = {
    "ndjson": Form("application/x-ndjson", "ndjson", ndjson),
    "txt": Form("text/plain", "txt", text),
}


def of(turn: Turn) -> str:
    """The turn's facts as a heading, then each event, set off so that nothing in it passes for ours."""
    facts = (
        f"{turn.started_at:%Y-%m-%d %H:%M:%S} UTC",
        turn.outcome or "running",
        f"{turn.cost_usd:.4f} USD",
        turn.model,
    )
    parts = [f"## {turn.agent}, turn {turn.number}\n", clean(" · ".join(fact for fact in facts if fact)) + "\n"]
    if turn.error:
        parts.append(fenced(clean(turn.error)) + "\n")
    for event in Event.objects.filter(agent=turn.agent, turn=turn.pk).order_by("seq")[:MOST]:
        shown = line(event)
        if words := (shown.detail or shown.text).strip():
            parts.append(f"**{clean(shown.label)}**\n\n{fenced(words)}\n")
    return "\n".join(parts)
