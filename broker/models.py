"""Mailboxes, messages and leases: durable, first in first out per recipient, delivered at least once.

queued --claim--> claimed --ack--> delivered --30 days--> vacuumed
   ^                 |  lease ran out, harness died, turn failed (attempt + 1)
   +----release------+                   after 5 attempts --> dead
"""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from . import disk, events, hot
from .age import DAY, Age, boot_clock, boot_id
from .events import publish_on_commit
from .hot import FIELDS
from .ids import new_id
from .jobs import Job as Job
from .points import reached
from .wire import BODY, Refused

OPERATOR, HIVE = "operator", "hive"
ATTEMPTS = 5
FULL = 1000


class Mailbox(models.Model):
    """An address: who may be written to, and as what. Lifecycle opens and closes them."""

    name = models.CharField(max_length=24, primary_key=True)
    role = models.CharField(max_length=12, default="agent")
    open = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def must_take(cls, name: str) -> None:
        """Refused where no mailbox of that name is open, with the nearest one there is."""
        found = hot.rows(hot.OPEN, name=name)
        if not found:
            near = difflib.get_close_matches(name, [other for (other,) in hot.rows(hot.OPEN_NAMES)], 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise Refused("not_found", f"Nobody is called {name[:40]!r}.{hint}", "unknown_recipient")
        if not found[0][0]:
            raise Refused("refused", f"{name} takes no messages: it was destroyed.", "recipient_gone")

    def close(self, reason: str) -> None:
        """Nobody will ever read here again: what is undelivered is dead, and its senders are told."""
        type(self).objects.filter(pk=self.pk).update(open=False)
        undelivered = Message.objects.filter(
            recipient=self.name, state__in=(Message.State.QUEUED, Message.State.CLAIMED)
        )
        Message._bury(undelivered, reason)
        Lease.objects.filter(recipient=self.name).delete()
        publish_on_commit("messages")


class Reader(NamedTuple):
    """A turn that waits for a message: what `take` would be asked for it."""

    turn: str
    key: str
    lease: float  # seconds
    may: Callable[[str], bool]  # whether that recipient may have one now


class Message(models.Model):
    """One message. The host's row is the truth about its delivery; the recipient's journal keeps a copy."""

    class State(models.TextChoices):
        QUEUED = "queued"
        CLAIMED = "claimed"
        DELIVERED = "delivered"
        DEAD = "dead"

    cid = models.CharField(max_length=64, help_text="The sender's own id: sent twice, it is one message.")
    sender = models.CharField(max_length=24)
    recipient = models.CharField(max_length=24)
    body = models.TextField()
    reply_to = models.BigIntegerField(null=True)
    chain = models.CharField(max_length=64, help_text="The cid of the message that began this thread.")
    hop = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0, help_text="How often it was claimed.")
    turn = models.CharField(max_length=36, null=True)
    key = models.CharField(
        max_length=64, null=True, help_text="Names the call that claimed it, so that a repeat finds it."
    )
    reason = models.CharField(max_length=300, default="", help_text="Why the last attempt failed.")
    created_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    aged = models.FloatField(db_default=0.0, help_text="The hive's age, in seconds, when it was delivered.")

    class Meta:
        ordering = ("id",)
        constraints = [models.UniqueConstraint(fields=("sender", "cid"), name="message_once_per_cid")]
        # Partial: they hold only what is under way, so a claim costs the same at any age of the hive.
        indexes = [
            models.Index(fields=("recipient", "id"), condition=Q(state="queued"), name="message_queued"),
            models.Index(fields=("turn",), condition=Q(state="claimed"), name="message_claimed"),
            models.Index(fields=("aged",), condition=Q(state="delivered"), name="message_aged"),
            models.Index(fields=("id",), condition=Q(state="dead"), name="message_dead"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.sender} → {self.recipient}"

    # ---- sending

    @classmethod
    def send(cls, sender: str, to: str, body: str, **how: Any) -> "Message":
        """As `post`, for who wants the row."""
        return cls.objects.get(pk=cls.post(sender, to, body, **how)["id"])

    @classmethod
    def post(
        cls,
        sender: str,
        to: str,
        body: str,
        *,
        cid: str | None = None,
        reply_to: int | None = None,
        turn: str | None = None,
    ) -> dict[str, Any]:
        """Queue a message; the same `cid` again is the same message. Refused when nobody would ever read it.

        It inherits the chain of the turn that sends it, one hop further.
        """
        if not body.strip():
            raise Refused("bad_params", "An empty message says nothing: give it a body.", "empty_body")
        if len(body.encode()) > BODY:
            raise Refused(
                "bad_params", f"A body is at most {BODY // 1024} KiB: put the rest in a file.", "body_too_long"
            )
        message = {
            "cid": cid or new_id(),
            "sender": sender,
            "recipient": to,
            "body": body,
            "reply_to": reply_to,
        }
        room = sender == HIVE or not disk.short()
        if room and (taker := events.waiting(f"inbox:{to}")) and (handed := cls._hand(taker, message, turn)):
            return handed
        if room and (queued := hot.post(message, turn, FULL)):
            reached("send.within")
            publish_on_commit(f"inbox:{to}", "messages")
            return queued
        if cid and (already := hot.sent(sender, cid)):
            return already
        Mailbox.must_take(to)
        if not room:
            raise disk.refusal()
        raise Refused("busy", f"{to} already has {FULL} messages waiting: try again later.", "mailbox_full")

    @classmethod
    def _hand(cls, taker: events.Taker, message: dict[str, Any], turn: str | None) -> dict[str, Any] | None:
        """The message, as `post` answers with it, and whoever waits for it has claimed it; None where that may not be."""
        reader: Reader = taker.wish
        if not reader.may(message["recipient"]) or not (posted := hot.hand(message, turn, reader.turn, reader.key)):
            return None
        reached("send.within")
        reached("claim.within")
        Lease.hold(reader.turn, posted["recipient"], reader.lease)
        reached("claim.leased")
        events.hand(taker, {"messages": [hot.as_handed(posted, reader.turn)]}, still=reader.turn)
        publish_on_commit("messages")
        return posted

    @classmethod
    def waiting(cls, recipient: str) -> int:
        """How many are queued for that recipient, counted to FULL."""
        return len(cls.objects.filter(recipient=recipient).extra(where=["state = 'queued'"]).values_list("id")[:FULL])

    # ---- delivery

    @classmethod
    def claim(cls, recipient: str, turn: str, key: str, lease: float, most: int = 1) -> list["Message"]:
        """As `take`, for who wants the rows."""
        return [cls.objects.get(pk=row["id"]) for row in cls.take(recipient, turn, key, lease, most)]

    @classmethod
    def take(cls, recipient: str, turn: str, key: str, lease: float, most: int = 1) -> list[dict[str, Any]]:
        """Take the oldest queued messages for a turn, which keeps them while its lease lasts.

        A repeat with the same `key` gets what the first call got: its reply may have been lost. Empty while another
        turn of the recipient holds a lease, or when nothing waits. Each row has its `sender_role` besides.
        """
        taken = hot.claim(recipient, turn, key, most)
        if not taken:
            return hot.claimed(recipient, turn, key)
        reached("claim.within")
        Lease.hold(turn, recipient, lease)
        reached("claim.leased")
        publish_on_commit("messages")
        return taken

    @classmethod
    def any_for(cls, recipient: str, turn: str) -> bool:
        """Whether a claim would find anything: most long polls end without, and need not trouble the writer."""
        return bool(hot.rows(hot.ANY, recipient=recipient, turn=turn)[0][0])

    @classmethod
    def ack(cls, recipient: str, turn: str) -> int:
        """The turn succeeded: what it claimed is delivered. How many that were."""
        acked = hot.rows(hot.ACK, turn=turn, recipient=recipient, now=hot.now())
        reached("ack.within")
        # Where nothing waits, nobody need look whether it may be had now.
        Lease.drop(recipient, turn, tell=not events.is_quiet(f"inbox:{recipient}"))
        reached("ack.dropped")
        return len(acked)

    @classmethod
    def release(cls, recipient: str, turn: str, reason: str) -> int:
        """The turn failed: what it claimed waits again, or is dead after its last attempt. How many wait again."""
        cls._bury(cls._held(recipient, turn).filter(attempt__gte=ATTEMPTS), reason)
        return cls._requeue(recipient, turn, reason, attempt=models.F("attempt"))

    @classmethod
    def hold(cls, recipient: str, turn: str, reason: str) -> int:
        """The turn never got to the message (no login, rate limit): it waits again, and the attempt does not count."""
        return cls._requeue(recipient, turn, reason, attempt=models.F("attempt") - 1)

    @classmethod
    def dead_letter(cls, recipient: str, turn: str, reason: str) -> int:
        """Trying again would do the same harm (a turn that ran past its deadline): dead, and the sender told."""
        dead = cls._bury(cls._held(recipient, turn), reason)
        Lease.drop(recipient, turn)
        return dead

    def requeue(self) -> None:
        """The operator says: once more, from the first attempt."""
        if (
            not type(self)
            .objects.filter(pk=self.pk, state=self.State.DEAD)
            .update(state=self.State.QUEUED, attempt=0, turn=None, key=None)
        ):
            raise Refused("conflict", f"Message {self.pk} is not dead: it is {self.state}.", "not_dead")
        publish_on_commit(f"inbox:{self.recipient}", "messages")

    @classmethod
    def _held(cls, recipient: str, turn: str) -> models.QuerySet["Message"]:
        return cls.objects.filter(turn=turn, recipient=recipient).extra(where=["state = 'claimed'"])

    @classmethod
    def _requeue(cls, recipient: str, turn: str, reason: str, attempt: Any) -> int:
        count = cls._held(recipient, turn).update(
            state=cls.State.QUEUED, turn=None, key=None, claimed_at=None, reason=reason[:300], attempt=attempt
        )
        Lease.drop(recipient, turn)
        return count

    @classmethod
    def _bury(cls, messages: models.QuerySet["Message"], reason: str) -> int:
        buried = list(messages)
        cls.objects.filter(pk__in=[message.pk for message in buried]).update(
            state=cls.State.DEAD, reason=reason[:300], turn=None, key=None
        )
        for message in buried:
            message._tell_sender(reason)
        return len(buried)

    def _tell_sender(self, reason: str) -> None:
        if self.sender == HIVE or not Mailbox.objects.filter(name=self.sender, open=True).exists():
            return
        words = f"Your message #{self.pk} to {self.recipient} was not delivered after {self.attempt} attempts: {reason}"
        Message.send(HIVE, self.sender, words, cid=f"dead-{self.pk}-{self.attempt}", reply_to=self.pk)

    # ---- age

    @classmethod
    def vacuum(cls, most: int) -> int:
        """Delete up to `most` delivered messages past their retention; what is undelivered stays, whatever its age."""
        # A message's mark may be an hour behind: so often is the age counted.
        oldest = Age.now() - settings.HIVE_MESSAGE_RETENTION_DAYS * DAY - DAY / 24
        deleted = hot.rows(hot.VACUUM, oldest=oldest, most=most)
        reached("vacuum.within")
        return len(deleted)

    def as_json(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in FIELDS}
        return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


class Lease(models.Model):
    """Who works on a recipient's messages, and until when, on the clock that no one can set."""

    turn = models.CharField(max_length=36, primary_key=True)
    recipient = models.CharField(max_length=24, db_index=True)
    boot = models.CharField(max_length=36)
    until = models.FloatField(help_text="Seconds of CLOCK_BOOTTIME of that boot.")

    def __str__(self) -> str:
        return f"{self.recipient} until {self.until:.0f}"

    @classmethod
    def hold(cls, turn: str, recipient: str, seconds: float) -> None:
        hot.rows(hot.HOLD, turn=turn, recipient=recipient, boot=boot_id(), until=boot_clock() + seconds)

    @classmethod
    def known(cls, turn: str) -> bool:
        return bool(hot.rows(hot.KNOWN, turn=turn))

    @classmethod
    def renew(cls, turn: str, recipient: str, seconds: float) -> None:
        """Refused when the lease has run out meanwhile: its messages are somebody else's by now."""
        renewed = cls.objects.filter(turn=turn, recipient=recipient, boot=boot_id())
        if not renewed.update(until=boot_clock() + seconds):
            raise Refused("conflict", "The lease of this turn has run out.", "lease_lost")

    @classmethod
    def drop(cls, recipient: str, turn: str, tell: bool = True) -> None:
        """`tell` those that wait for the recipient's messages."""
        if hot.rows(hot.DROP, turn=turn, recipient=recipient):
            publish_on_commit("messages", *[f"inbox:{recipient}"] * tell)

    @classmethod
    def over(cls) -> models.QuerySet["Lease"]:
        """Those that ran out; a reboot ends them all."""
        return cls.objects.exclude(boot=boot_id(), until__gt=boot_clock())

    @classmethod
    def any_over(cls) -> bool:
        return cls.over().exists()

    @classmethod
    def expire(cls) -> int:
        """Release what the leases that ran out hold. How many messages wait again."""
        count = 0
        for lease in list(cls.over()):
            count += Message.release(lease.recipient, lease.turn, "its turn was not heard of again")
            reached("expire.within")
        return count
