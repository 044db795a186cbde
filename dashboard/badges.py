"""How much there is on each of an agent's pages, in a word that fits beside its name."""

import os
from itertools import islice

from agents.models import Agent, Turn
from approvals.models import Approval
from lifecycle import paths, safe_fs

from . import parts

NOTES = 99  # that are counted


def badges(name: str) -> dict[str, int | str]:
    """Page -> its badge, 0 for none; and `pending`, what waits for the operator in the whole hive."""
    pending = list(Approval.pending().values_list("agent", flat=True))
    numbers = Turn.objects.filter(agent=name).order_by("-number").values_list("number", flat=True)
    return {
        "inbox": parts.queued().filter(recipient=name).count(),
        "notes": notes(name),
        "config": pending.count(name),
        "turns": numbers.first() or 0,
        "login": "!" if Agent.objects.filter(name=name, state="login").exists() else 0,
        "pending": len(pending),
    }


def notes(name: str) -> int | str:
    """Files and directories right under its /state: on all levels it may have made any number."""
    try:
        with safe_fs.opened(paths.state_dir(name), safe_fs.DIRECTORY) as fd, os.scandir(fd) as entries:
            found = sum(1 for _ in islice(entries, NOTES + 1))
    except OSError:
        return 0
    return found if found <= NOTES else f"{NOTES}+"
