"""Periodic jobs, as rows: when each last ran, for how long, and what came of it. `@recorded(…)` keeps them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial, wraps
from typing import Any

from django.db import models
from django.utils import timezone

from .events import publish_on_commit
from .writer import writer

# Every job there is -> its period in seconds.
PERIODS: dict[str, int] = {}


class Job(models.Model):
    """One periodic job. Begun later than it ended, it is under way, or was cut short."""

    name = models.CharField(max_length=40, primary_key=True)
    period = models.PositiveIntegerField(help_text="Seconds; it is due whenever the clock shows a multiple of them.")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ok = models.BooleanField(null=True, help_text="Of the last run that ended.")
    result = models.CharField(max_length=300, default="", help_text="What came of it, a sentence.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def next_at(self) -> datetime:
        return datetime.fromtimestamp((time.time() // self.period + 1) * self.period, UTC)

    @classmethod
    def list_all(cls) -> None:
        """Also those that have not run yet, so that it shows when they will."""
        Job.objects.bulk_create([Job(name=name, period=PERIODS[name]) for name in PERIODS], ignore_conflicts=True)

    @classmethod
    def begun(cls, name: str, period: int) -> None:
        cls.objects.update_or_create(name=name, defaults={"period": period, "started_at": timezone.now()})
        publish_on_commit("jobs")

    @classmethod
    def ended(cls, name: str, ok: bool, result: str) -> None:
        cls.objects.filter(name=name).update(ended_at=timezone.now(), ok=ok, result=result[:300])
        publish_on_commit("jobs")


def recorded(name: str, period: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Around a job that runs every `period` seconds and returns a sentence about it, or nothing to say."""
    PERIODS[name] = period

    def around(job: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(job)
        def run() -> str | None:
            writer.wait(partial(Job.begun, name, period))
            try:
                said = job()
            except Exception as error:  # the row tells the truth before anybody else hears of it
                writer.wait(partial(Job.ended, name, False, f"{error or type(error).__name__}"))
                raise
            writer.wait(partial(Job.ended, name, True, said or ""))
            return said

        return run

    return around
