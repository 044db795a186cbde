"""kill -9 at every named step of carrying out an approval: what was approved happens once, and is told once."""

from typing import Any

import pytest

from .mortals import Mortals

TIMES = 10

BEGINNING = (
    "apply_commit.commit", "applied.commit.within", "apply_commit.commit.done",
    "apply_commit.switch", "apply_commit.switch.within", "apply_commit.switch.done",
)  # fmt: skip
# What comes of it -> the points of its own that are reached on the way.
POINTS = {
    "spawns": ("spawn.begin", "spawn.within", "spawn.settle.within", "spawn.done"),
    "spawn fails": ("spawn.begin", "spawn.settle.within"),
    "applies": (
        *BEGINNING,
        "apply_commit.check", "apply_commit.settle.within", "apply_commit.check.within", "apply_commit.check.done",
    ),
    "fails": (
        "apply_commit.check", "apply_commit.check.done",
        "apply_commit.go_back", "apply_commit.go_back.done",
        "apply_commit.return_", "apply_commit.return_.within", "apply_commit.return_.done",
        "apply_commit.give_up", "apply_commit.settle.within", "apply_commit.give_up.done",
    ),
    "destroyed": ("apply_commit.switch", "apply_commit.settle.within", "apply_commit.switch.done"),
}  # fmt: skip
# A point that a story reaches twice is met the second time by who was killed after the first.
TWICE = [("fails", "apply_commit.go_back", "applied.commit.within")]
WAYS = [(story, "", point) for story, some in POINTS.items() for point in some] + TWICE

START = "Spawned"
# What is there when all is done: the applied commits, how often the agent was asked to start, and what hm1nd was told.
ONCE = {
    "spawns": ([START], {"scout": 0, "owl": 1}, [], "(spawn owl) was approved by operator and applied"),
    "spawn fails": ([START], {"scout": 0, "owl": 1}, [], "(spawn owl) was approved by operator, but it failed"),
    "applies": ([START, "#1: it reads"], {"scout": 1}, ["new"], "and applied: scout runs with it."),
    "fails": (
        [START, "#1: it reads", "Back: #1 failed. No hello."], {"scout": 2}, ["new", "old"],
        "did not come up with it: No hello; the configuration from before is back.",
    ),
    "destroyed": ([START, "#1: it reads"], {"scout": 0}, [], "but it failed: scout was destroyed meanwhile."),
}  # fmt: skip


@pytest.mark.parametrize("story", POINTS)
def test_who_is_not_killed_does_it_once_and_passes_every_point(mortals: Mortals, story: str) -> None:
    hive = mortals.hive(story)
    reached = mortals.does(hive, "record", story=story)
    shared = {"fails": BEGINNING, "destroyed": BEGINNING[:3]}.get(story, ())
    assert set(reached) == {*shared, *POINTS[story]}
    now, (commits, intents, rebuilds, words) = mortals.does(hive, "look"), ONCE[story]
    assert [commit.splitlines()[0] for commit in now["commits"]] == commits
    assert {name: intent for name, intent, *_ in now["containers"]} == intents
    assert ["new" if "egress" in source else "old" for source in now["rebuilds"]] == rebuilds
    assert len(now["told"]) == 1
    assert words in now["told"][0][1]


@pytest.mark.parametrize(("story", "after", "point"), WAYS)
def test_killed_there_ten_times_it_happens_once(mortals: Mortals, story: str, after: str, point: str) -> None:
    once = mortals.does(mortals.hive(story), "finish", story=story)["left"]
    for time in range(TIMES):
        hive = mortals.hive(story)
        if after:
            assert mortals.killed(hive, story, after)
        assert mortals.killed(hive, story, point), "the point was reached"
        # The last is killed ten times in a row, as far as it comes to the same point again.
        for _ in range(TIMES - 1 if time == TIMES - 1 else 0):
            if not mortals.killed(hive, story, point):
                break
        seen = mortals.does(hive, "finish", story=story)
        before_its_time(seen["found"], once)
        assert seen["left"] == once
    done = mortals.does(hive, "dump")
    for _ in range(2):
        mortals.does(hive, "carry", story=story)
        assert mortals.does(hive, "dump") == done, "who begins anew finds nothing to do"


def before_its_time(now: dict[str, Any], once: dict[str, Any]) -> None:
    """What has happened so far is the beginning of what happens once; hm1nd is told in the moment in which all is done."""
    for what in ("commits", "rebuilds", "told"):
        assert now[what] == once[what][: len(now[what])]
    assert bool(now["told"]) == (now["states"] == once["states"])
