"""The hive's age: it grows as time passes, and no clock that somebody sets can push it ahead. Retention counts on it."""

import time
from functools import cache
from pathlib import Path

from django.db import models

DAY = 86400.0
# Seconds that the machine's clock may gain on the boot clock; and what a machine that was off may have slept through.
AHEAD, ASLEEP = 60.0, 7 * DAY


def wall_clock() -> float:
    """Seconds since 1970, as far as the machine knows: anybody may set it."""
    return time.time()


def boot_clock() -> float:
    """Seconds since this machine started, suspended or not: the clock no one can set (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Age(models.Model):
    """The one row: how old the hive is, and what the clocks showed when it was last counted."""

    seconds = models.FloatField(default=0)
    wall = models.FloatField()
    boot = models.CharField(max_length=36)
    ran = models.FloatField(help_text="Seconds of CLOCK_BOOTTIME of that boot.")

    def __str__(self) -> str:
        return f"{self.seconds / DAY:.1f} days"

    @classmethod
    def now(cls) -> float:
        """As it was last counted: at the start and every hour."""
        return cls.objects.filter(pk=1).values_list("seconds", flat=True).first() or 0.0

    @classmethod
    def count(cls) -> float:
        """What has passed since it was last counted, as far as two clocks agree; a reboot is given a week at most."""
        row = cls.objects.filter(pk=1).first() or cls(pk=1, wall=wall_clock(), boot=boot_id(), ran=boot_clock())
        known = boot_clock() - row.ran + AHEAD if row.boot == boot_id() else ASLEEP
        row.seconds += max(0.0, min(wall_clock() - row.wall, known))
        row.wall, row.boot, row.ran = wall_clock(), boot_id(), boot_clock()
        row.save()
        return row.seconds
