"""What stands above the events of a turn: its number, when it began, how long, tokens, cost and outcome."""

from collections.abc import Sequence

from .models import Event, Turn


def mark(events: Sequence[Event], before: str | None = None) -> None:
    """Give each event that is its turn's first here a `head`, the turn; `before` is the turn of the event before them."""
    first: dict[int, str] = {}
    for event in events:
        if event.turn and event.turn != before:
            first[event.pk] = event.turn
        before = event.turn or before
    turns = Turn.objects.in_bulk(set(first.values())) if first else {}
    for event in events:
        if turn := first.get(event.pk):
            # Events may be here before their turn's row is.
            event.head = turns.get(turn) or Turn(pk=turn, agent=event.agent, number=0, started_at=event.at)  # type: ignore[attr-defined]


def turn_at(agent: str, cursor: int) -> str | None:
    """The turn that goes on where a batch begins."""
    before = Event.objects.filter(agent=agent, pk__lte=cursor, turn__isnull=False).order_by("-pk")
    return before.values_list("turn", flat=True).first()
