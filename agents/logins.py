"""Logging an agent in to Claude: what the operator wishes and what its harness says of it. The code passes through, unkept.

start -> starting -> waiting (its link is shown) -> checking (the code was given) -> ok | failed
                        ^--------- the code is asked for again ----------'
"""

import re
from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from broker.events import publish_on_commit
from broker.wire import Refused

# Seconds that a login may take; the harness keeps to it, and what it leaves undone is over for the page too.
LIMIT = 600
UNDER_WAY = ("starting", "waiting", "checking")
# An agent in an attacker's hands must not send the operator just anywhere.
LINK = re.compile(
    r"https://(claude\.ai|claude\.com|console\.anthropic\.com|platform\.claude\.com)/([a-z0-9_-]+/)*oauth/authorize\?[!-~]{1,1900}"
)
CODE = re.compile(r"[!-~]{1,2000}")

# Agent -> the code that its harness has not taken yet: in memory alone, as it is a secret.
CODES: dict[str, str] = {}


class Login(models.Model):
    """One agent's login: the one under way or the last, and whether its claude says that it is logged in."""

    agent = models.CharField(max_length=24, primary_key=True)
    number = models.PositiveIntegerField(default=0, help_text="Counts the wishes.")
    wish = models.CharField(max_length=8, default="", help_text="What its harness has not taken up yet.")
    state = models.CharField(max_length=10, default="")
    since = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(null=True, help_text="When a login under way is given up.")
    link = models.CharField(max_length=2000, default="")
    words = models.CharField(max_length=500, default="", help_text="What claude said last.")
    logged_in = models.BooleanField(null=True, help_text="As claude itself says; NULL until it was asked.")
    account = models.CharField(max_length=200, default="")

    def __str__(self) -> str:
        return f"login of {self.agent}"

    @classmethod
    def of(cls, agent: str) -> "Login":
        """Its row, or a new one that is not saved."""
        return cls.objects.filter(pk=agent).first() or cls(agent=agent)

    @property
    def under_way(self) -> bool:
        return self.state in UNDER_WAY and not self.overdue

    @property
    def overdue(self) -> bool:
        return self.state in UNDER_WAY and self.until is not None and self.until < timezone.now()

    # ---- what the operator wishes

    def begin(self) -> None:
        """Start `claude auth login`; one that is under way is given up for it."""
        self.until = timezone.now() + timedelta(seconds=LIMIT)
        self._wish("start", "starting")

    def give(self, code: str) -> None:
        """Pass the code on that the sign-in page showed."""
        if self.state != "waiting" or self.overdue:
            raise Refused("conflict", f"No login of {self.agent} waits for a code: begin one first.", "no_login")
        if not CODE.fullmatch(code := code.strip()):
            raise Refused("bad_params", "A code is one word, as the sign-in page shows it.", "bad_code")
        CODES[self.agent] = code
        self._wish("code", "checking")

    def cancel(self) -> None:
        if self.state not in UNDER_WAY:
            raise Refused("conflict", f"No login of {self.agent} is under way.", "no_login")
        self._wish("cancel", "")

    def log_out(self) -> None:
        """Have claude forget its credentials."""
        self._wish("logout", "")

    def _wish(self, wish: str, state: str) -> None:
        self.number, self.wish, self.words = self.number + 1, wish, ""
        self._turns(state)
        if state in ("", "starting"):
            self.link = ""
        self._keep()
        publish_on_commit(f"control:{self.agent}")

    # ---- what its harness hears and says

    def next(self) -> dict[str, Any]:
        """The wish that is to be taken up, '' for none. A code that a restart of the hive has cost is ''."""
        wish = "" if self.wish == "start" and self.overdue else self.wish
        return {"wish": wish, "number": self.number} | ({"code": CODES.get(self.agent, "")} if wish == "code" else {})

    def says(self, state: str, takes: int, link: str, words: str, logged_in: bool | None, account: str) -> None:
        """Take over how it stands. `takes` is the wish that was taken up, 0 for a harness that begins."""
        self._knows(logged_in, account)
        if takes != self.number or not takes:
            # Of an older wish nothing is of interest; what an older harness had under way ended with it.
            if not takes and not self.wish and self.state in UNDER_WAY:
                self._ends("Its harness was restarted meanwhile: begin anew.")
            return self._keep()
        self.wish = ""
        CODES.pop(self.agent, None)
        if link and not LINK.fullmatch(link):
            raise Refused("bad_params", "That is no link to Claude's sign-in.", "bad_link")
        if state == "waiting" and self.state not in UNDER_WAY:
            raise Refused("conflict", "Nobody has begun a login.", "no_login")
        self.link = "" if state in ("", "ok", "failed") else link or self.link
        self.words = words[:500]
        self._turns(state)
        return self._keep()

    def _knows(self, logged_in: bool | None, account: str) -> None:
        if logged_in is not None:
            self.logged_in, self.account = logged_in, account[:200] if logged_in else ""

    def _ends(self, words: str) -> None:
        self.link, self.words = "", words
        self._turns("failed")

    def _turns(self, state: str) -> None:
        if state != self.state:
            self.state, self.since = state, timezone.now()

    def _keep(self) -> None:
        self.save()
        publish_on_commit(f"agent:{self.agent}", "containers")

    def as_json(self) -> dict[str, Any]:
        state, words = ("failed", "It took too long.") if self.overdue else (self.state, self.words)
        return {
            "name": self.agent,
            "state": state,
            "since": self.since.isoformat(),
            "until": self.until.isoformat() if self.until and self.under_way else None,
            "link": self.link if self.under_way else "",
            "words": words,
            "logged_in": self.logged_in,
            "account": self.account,
        }
