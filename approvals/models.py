"""What needs the operator's yes: requested, decided once, carried out by a journal of states.

pending -> approved -> applying -> applied | failed        or        denied, superseded, expired, cancelled
"""

import hashlib
import json
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from broker import points
from broker.events import publish_on_commit
from broker.models import HIVE, Mailbox, Message
from broker.wire import Refused
from lifecycle import repos
from lifecycle.models import Container

from . import intake
from .intake import Proposal

WHY, ERROR = 1000, 2000
# The steps of approvals/carry.py that take their time -> how the operator reads them.
DOING = {
    "switch": "waiting until it runs no turn",
    "check": "waiting until it is up",
    "return_": "it did not come up: going back",
    "give_up": "it did not come up: waiting until it is back",
}
HAPPENS = (
    "It is committed to the applied repository of {agent}, which is rebuilt as soon as it runs no turn. Does {agent} not come "
    "up with it, the configuration of now comes back."
)


def check_why(why: str) -> None:
    if not why.strip():
        raise Refused("bad_params", "Say why: the operator decides by it.", "why_missing")
    if len(why) > WHY:
        raise Refused("bad_params", f"The reason is at most {WHY} characters.", "why_too_long")


class Approval(models.Model):
    """Something that waits for the operator. The row holds the exact bytes that a yes is a yes to."""

    class Kind(models.TextChoices):
        SPAWN = "spawn"
        APPLY_COMMIT = "apply_commit"

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        APPLYING = "applying"
        APPLIED = "applied"
        FAILED = "failed"
        DENIED = "denied"
        SUPERSEDED = "superseded"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    kind = models.CharField(max_length=12, choices=Kind)
    cid = models.CharField(
        max_length=64, null=True, help_text="The requester's own id: asked twice, it is one request."
    )
    agent = models.CharField(max_length=24)
    incarnation = models.CharField(max_length=36, default="")
    why = models.CharField(max_length=WHY)
    content = models.TextField(default="", help_text="What is approved, to the byte.")
    sha256 = models.CharField(max_length=64)
    sha = models.CharField(max_length=40, default="", help_text="The proposed commit.")
    base = models.CharField(max_length=64, default="", help_text="The sha256 of what was applied when it was asked.")
    before = models.TextField(default="", help_text="What was applied when it was asked, to the byte.")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    requested_by = models.CharField(max_length=24)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    decided_by = models.CharField(max_length=80, default="")
    decided_at = models.DateTimeField(null=True)
    decided_from = models.CharField(max_length=80, default="")
    reason = models.CharField(max_length=WHY, default="")
    step = models.CharField(max_length=80, default="")
    error = models.TextField(default="")

    class Meta:
        ordering = ("id",)
        constraints = [models.UniqueConstraint(fields=("requested_by", "cid"), name="approval_once_per_cid")]
        indexes = [models.Index(fields=("state", "id"), name="approval_state")]

    def __str__(self) -> str:
        return f"#{self.pk} {self.kind} {self.agent}"

    # ---- asking

    @classmethod
    def request_spawn(
        cls, by: str, name: str, why: str, config: dict[str, Any] | None = None, cid: str | None = None
    ) -> "Approval":
        """Ask for a new agent; a later request for the same name takes the earlier one's place."""
        if already := cls.asked(by, cid):
            return already
        check_why(why)
        content = json.dumps(Container.check_spawn(name, config), ensure_ascii=False, indent=2, sort_keys=True)
        return cls._request(kind=cls.Kind.SPAWN, cid=cid, agent=name, why=why, content=content, requested_by=by)

    @classmethod
    def request_apply_commit(
        cls, by: str, agent: str, sha: str, why: str, cid: str | None = None, found: Proposal | None = None
    ) -> "Approval":
        """Ask for a committed configuration of an agent; `found` is what intake.py made of it, where it was fetched before."""
        if already := cls.asked(by, cid):
            return already
        check_why(why)
        found = found or intake.fetched(agent, sha)
        return cls._request(
            kind=cls.Kind.APPLY_COMMIT, cid=cid, agent=agent, why=why, requested_by=by, **found._asdict()
        )

    @classmethod
    def asked(cls, by: str, cid: str | None) -> "Approval | None":
        """The request that this call already made, should its answer have been lost."""
        return cls.objects.filter(requested_by=by, cid=cid).first() if cid else None

    @classmethod
    def _request(cls, **columns: Any) -> "Approval":
        cls.supersede(columns["agent"], "a later request took its place")
        columns["sha256"] = hashlib.sha256(columns["content"].encode()).hexdigest()
        expires = timezone.now() + timedelta(days=settings.HIVE_APPROVAL_EXPIRY_DAYS)
        approval = cls.objects.create(expires_at=expires, **columns)
        publish_on_commit("approvals")
        return approval

    @classmethod
    def supersede(cls, agent: str, reason: str) -> None:
        for earlier in cls.pending().filter(agent=agent):
            earlier._decide(cls.State.SUPERSEDED, HIVE, "a later request", reason=reason)

    @classmethod
    def rollback(cls, by: str, where: str, agent: str, rev: str = "", found: Proposal | None = None) -> "Approval":
        """The operator's own: an earlier configuration of the agent, approved by being asked for."""
        why = f"back to {rev}" if rev else "back to the configuration before"
        found = found or intake.earlier(agent, rev)
        approval = cls._request(kind=cls.Kind.APPLY_COMMIT, agent=agent, why=why, requested_by=by, **found._asdict())
        approval.approve(by, where, seen=approval.sha256)
        return approval

    # ---- deciding

    @classmethod
    def pending(cls) -> models.QuerySet["Approval"]:
        return cls.objects.filter(state=cls.State.PENDING)

    @classmethod
    def numbered(cls, id: int) -> "Approval":
        approval = cls.objects.filter(pk=id).first()
        if approval is None:
            raise Refused("not_found", f"There is no approval {id}.", "unknown_approval")
        return approval

    def approve(self, by: str, where: str, seen: str) -> None:
        """Yes to the bytes whose sha256 is `seen`; then it is carried out."""
        self._decide(self.State.APPROVED, by, where, seen=seen)

    def deny(self, by: str, where: str, reason: str = "") -> None:
        self._decide(self.State.DENIED, by, where, reason=reason)
        self.tell(f"denied by {by}" + (f": {reason}" if reason else "."))

    @classmethod
    def expire(cls) -> int:
        """What nobody decided in time is expired, never granted; how many that were."""
        late = list(cls.pending().filter(expires_at__lt=timezone.now()))
        for approval in late:
            approval._decide(cls.State.EXPIRED, HIVE, "the clock", reason="nobody decided in time")
            approval.tell("expired: nobody decided in time. Ask again if it is still wanted.")
        return len(late)

    def _decide(self, state: str, by: str, where: str, reason: str = "", seen: str | None = None) -> None:
        """One UPDATE bound to the row, its state and the bytes that were seen; its count tells who was first."""
        decision = {
            "state": state,
            "decided_by": by[:80],
            "decided_from": where[:80],
            "decided_at": timezone.now(),
            "reason": reason[:WHY],
        }
        undecided = type(self).objects.filter(pk=self.pk, state=self.State.PENDING)
        if seen is not None:
            undecided = undecided.filter(sha256=seen, base=self.base)
        if state == self.State.APPROVED and self.kind == self.Kind.APPLY_COMMIT:
            undecided = undecided.filter(models.Exists(self.agents().filter(source=self.before)))
        won = undecided.update(**decision)
        self.refresh_from_db()
        if not won:
            raise self._too_late()
        publish_on_commit("approvals")

    def agents(self) -> models.QuerySet[Container]:
        """The very agent that it was asked for, while there is one: not a later one of its name."""
        alive = Container.objects.exclude(desired=Container.Desired.DESTROYED)
        return alive.filter(pk=self.agent, incarnation=self.incarnation)

    def _too_late(self) -> Refused:
        if self.state == self.State.PENDING:
            return self._not_as_shown()
        return Refused(
            "conflict",
            f"Approval {self.pk} is already {self.state}, by {self.decided_by} from {self.decided_from}.",
            "already_decided",
        )

    def _not_as_shown(self) -> Refused:
        if self.kind == self.Kind.APPLY_COMMIT and not self.agents().exists():
            return Refused(
                "conflict", f"{self.agent} was destroyed after approval {self.pk} was asked for: deny it.", "agent_gone"
            )
        if self.kind == self.Kind.APPLY_COMMIT and not self.agents().filter(source=self.before).exists():
            words = f"What is applied to {self.agent} has changed since approval {self.pk} was asked for"
            return Refused("conflict", f"{words}: have it asked for again, on what is applied now.", "base_moved")
        return Refused("conflict", f"Approval {self.pk} is not what you were shown: look again.", "content_changed")

    # ---- showing

    def shown(self) -> dict[str, Any]:
        """The row with what the operator decides by: the difference, the settings that change, what will happen."""
        return self.as_json() | {
            "diff": self.diff(),
            "changes": self.changes(),
            "happens": self.happens(),
            "doing": self.doing,
        }

    def diff(self) -> list[dict[str, Any]]:
        if self.kind != self.Kind.APPLY_COMMIT:
            return []
        return [dict(row) for row in repos.diff(self.before.encode(), self.content.encode())]

    def changes(self) -> list[str]:
        """The settings that change, decoded; [] for what only Nix can decode."""
        return intake.changes(self.before, self.content) if self.kind == self.Kind.APPLY_COMMIT else []

    @property
    def doing(self) -> str:
        """What carrying it out is at."""
        return DOING.get(self.step, "")

    def happens(self) -> str:
        if self.kind == self.Kind.SPAWN:
            return f"{self.agent} is made and started."
        return HAPPENS.format(agent=self.agent)

    # ---- carrying out

    @classmethod
    def carry_out_all(cls) -> bool:
        """Do what was approved, as far as it can be done now; True when something is left to wait for."""
        for approval in cls.under_way():
            approval.carry_out()
        return cls.under_way().exists()

    @classmethod
    def under_way(cls) -> models.QuerySet["Approval"]:
        return cls.objects.filter(state__in=(cls.State.APPROVED, cls.State.APPLYING))

    def carry_out(self) -> None:
        """Begun and cut off by a crash, it is begun again where it was: approvals/carry.py."""
        from .carry import carry_out  # it imports us

        carry_out(self)

    def settle(self, state: str, outcome: str, error: str = "") -> None:
        self.state, self.step, self.error = state, "", error[:ERROR]
        self.save(update_fields=["state", "step", "error"])
        points.reached(f"{self.kind}.settle.within")
        self.tell(outcome)
        publish_on_commit("approvals")

    def tell(self, outcome: str) -> None:
        """The requester gets the outcome as a message from the hive."""
        if Mailbox.objects.filter(name=self.requested_by, open=True).exists():
            words = f"Your request #{self.pk} ({self.kind} {self.agent}) was {outcome}"
            Message.send(HIVE, self.requested_by, words, cid=f"approval-{self.pk}-{self.state}")

    def as_json(self) -> dict[str, Any]:
        names = (
            "id", "kind", "agent", "incarnation", "why", "content", "sha256", "sha", "base", "state", "requested_by",
            "created_at", "expires_at", "decided_by", "decided_at", "decided_from", "reason", "step", "error",
        )  # fmt: skip
        row = {name: getattr(self, name) for name in names}
        return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
