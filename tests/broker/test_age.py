"""Whatever the machine's clock says, nothing is removed before thirty days have really passed, and no lease ends early."""

from collections.abc import Callable

import pytest

from broker import age, tasks
from broker.age import AHEAD, DAY, Age
from broker.models import Lease, Mailbox, Message

pytestmark = pytest.mark.django_db

HOUR, YEAR = DAY / 24, 365 * DAY
# What happens to the machine's clock.
WRONG = {"an hour ahead": HOUR, "an hour back": -HOUR, "31 days ahead": 31 * DAY, "400 days ahead": 400 * DAY,
         "ten years back": -10 * YEAR}  # fmt: skip


class Clocks:
    """The machine's three, to be set."""

    def __init__(self) -> None:
        self.wall, self.ran, self.boot = 2e9, 1e5, "this boot"

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.ran += seconds

    def hours(self, count: int) -> None:
        """As a hive lives through them."""
        for _ in range(count):
            self.pass_(HOUR)
            tasks.vacuum_now()

    def reboot(self, off: float) -> None:
        self.wall += off
        self.ran, self.boot = 10.0, f"{self.boot}, then another"


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(age, "wall_clock", lambda: clocks.wall)
    for place in ("broker.age", "broker.models"):
        monkeypatch.setattr(f"{place}.boot_clock", lambda: clocks.ran)
        monkeypatch.setattr(f"{place}.boot_id", lambda: clocks.boot)
    Age.count()
    Mailbox.objects.create(name="scout")
    return clocks


def deliver(count: int = 3) -> None:
    for number in range(count):
        Message.post("hm1nd", "scout", "x")
        Message.take("scout", turn := f"turn-{Message.objects.count()}-{number}", turn, 60)
        Message.ack("scout", turn)


def left() -> int:
    return Message.objects.count()


@pytest.mark.parametrize("wrong", WRONG)
def test_a_clock_that_jumps_removes_nothing_and_ends_no_lease(clocks: Clocks, wrong: str) -> None:
    deliver()
    Message.post("hm1nd", "scout", "under way")
    Message.take("scout", "turn-now", "turn-now", HOUR * 2)
    clocks.wall += WRONG[wrong]
    clocks.hours(1)
    assert left() == 4
    assert not Lease.any_over()
    clocks.wall -= WRONG[wrong]
    clocks.hours(1)
    assert left() == 4
    clocks.pass_(1)
    assert Lease.expire() == 1, "the lease ends when its time is up"


@pytest.mark.parametrize("wrong", WRONG)
def test_after_thirty_real_days_they_go_whatever_it_said_when_they_were_delivered(clocks: Clocks, wrong: str) -> None:
    clocks.wall += WRONG[wrong]
    deliver()
    Message.post("hm1nd", "scout", "nobody reads it")
    clocks.wall -= WRONG[wrong]
    clocks.hours(1)
    clocks.hours(24 * 30 - 2)
    assert left() == 4
    clocks.hours(4)
    assert left() == 1, "what is undelivered stays"


def test_a_reboot_counts_for_a_week_at_most(clocks: Clocks) -> None:
    deliver()
    for _ in range(4):
        clocks.reboot(400 * DAY)
        tasks.vacuum_now()
        assert left() == 3
    assert Age.now() == 28 * DAY
    clocks.reboot(-10 * YEAR)
    tasks.vacuum_now()
    assert Age.now() == 28 * DAY


def test_a_clock_that_runs_ahead_gains_a_minute_each_time_it_is_looked_at(clocks: Clocks) -> None:
    clocks.wall += 400 * DAY
    assert Age.count() == AHEAD
    assert Age.count() == AHEAD


@pytest.fixture
def naive(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(age, "AHEAD", 1e12)


def test_without_the_guard_a_wrong_clock_would_remove_everything(clocks: Clocks, naive: Callable[[], None]) -> None:
    """So this suite can fail."""
    deliver()
    naive()
    clocks.wall += 400 * DAY
    tasks.vacuum_now()
    assert left() == 0
