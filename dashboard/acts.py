"""What operators did: who, when and from where, written in the transaction of the act itself: neither is there without the other.

A decision has a line here too; what counts of it stands in the approval. What the command line sends is its own record.
"""

from typing import Any

from django.db import models
from django.utils import timezone

EVERYONE = "*"  # no name of an agent
WORDS = 300


class Act(models.Model):
    """One act; such rows are only ever added."""

    at = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=150)
    where = models.CharField(max_length=80)
    verb = models.CharField(max_length=20)
    target = models.CharField(max_length=150, default="", help_text="The agent or user that it was done to; * for all.")
    words = models.CharField(max_length=WORDS, default="", help_text="What else there is to say of it.")

    class Meta:
        ordering = ("id",)
        indexes = [models.Index(fields=("target", "id"), name="act_target")]

    def __str__(self) -> str:
        return f"{self.by}: {self.verb} {self.target}"

    @classmethod
    def note(cls, who: tuple[str, str], verb: str, target: str = "", words: str = "") -> None:
        """`who` is the name, and from where."""
        by, where = who
        cls.objects.create(by=by[:150], where=where[:80], verb=verb, target=target[:150], words=words[:WORDS])

    @classmethod
    def of(cls, target: str = "", before: int | None = None) -> models.QuerySet["Act"]:
        """Those done to somebody, or all; the newest first, or those before a number."""
        rows = cls.objects.filter(target=target) if target else cls.objects.all()
        return (rows if before is None else rows.filter(pk__lt=before)).order_by("-pk")

    def as_json(self) -> dict[str, Any]:
        names = ("id", "by", "where", "verb", "target", "words")
        return {name: getattr(self, name) for name in names} | {"at": self.at.isoformat()}
