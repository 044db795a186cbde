"""What the pages keep for themselves: sign-in links, and what was told outside of what waits."""

from datetime import datetime

from django.db import models
from django.utils import timezone

from .acts import Act as Act
from .indexing import Indexed as Indexed
from .indexing import Minute as Minute


class SignInLink(models.Model):
    """Good once; only its hash is kept."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()
    user = models.CharField(max_length=150, default="operator")
    role = models.CharField(max_length=10, default="admin", help_text="The most that its session may be.")

    def __str__(self) -> str:
        return f"link until {self.expires_at:%H:%M:%S}"


class Notice(models.Model):
    """That something waits, told to one place: once, or again as a reminder."""

    key = models.CharField(max_length=80)
    target = models.CharField(max_length=12)
    attempt = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    told_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, default="", help_text="Why the last attempt failed.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("key", "target"), name="notice_once_per_target")]

    def __str__(self) -> str:
        return f"{self.key} to {self.target}"


class Mute(models.Model):
    """Until when nothing is told; one row at most."""

    until = models.DateTimeField()
    by = models.CharField(max_length=150)
    where = models.CharField(max_length=80)

    def __str__(self) -> str:
        return f"until {self.until:%H:%M:%S}, by {self.by}"

    @classmethod
    def now(cls) -> "Mute | None":
        return cls.objects.filter(until__gt=timezone.now()).first()

    @classmethod
    def set(cls, until: datetime, by: str, where: str) -> None:
        cls.objects.update_or_create(pk=1, defaults={"until": until, "by": by, "where": where[:80]})
