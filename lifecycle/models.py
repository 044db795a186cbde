"""Containers: the row that says what is wanted of an agent (`desired`, `op`) and what is true of it (`status`).

A verb here writes the wish and returns; lifecycle/steps.py carries it out, in a thread, and after a crash again.
"""

import difflib
import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from agents.models import Agent, Login
from agents.redact import redacted
from broker import hot
from broker.events import publish_on_commit
from broker.models import Lease, Mailbox, Message
from broker.wire import Refused

from . import allot, budget, drivers, egress, egress_told, names, pool
from .config import AgentConfig
from .drivers import Spec

# What is going on -> how the operator reads it.
DOING = {
    "start": "It is being started",
    "stop": "It is being stopped",
    "kill": "It is being killed",
    "restart": "It is being restarted",
    "rebuild": "It is being rebuilt",
    "destroy": "It is being destroyed",
    "purge": "It is being destroyed and everything of it removed",
}
SPENT = "Its daily budget is spent: its messages wait until midnight UTC, or until 'hive resume {name}'."
ENDING = ("destroy", "purge")
# Made once: whose the files are does not hang on it, and that is asked of every row again and again.
PLAIN = AgentConfig()
TAKES_NO_MESSAGE = """
    SELECT 1 FROM lifecycle_container WHERE name = :name
    AND (paused OR op NOT IN ('', 'start') OR held_until > strftime('%Y-%m-%d %H:%M:%f', 'now'))
"""

# What every new wish wipes out.
WISH: dict[str, Any] = {"step": "", "error": "", "deaths": [], "retry_at": None, "due": False}


def new_incarnation() -> str:
    return str(uuid.uuid4())


class Container(models.Model):
    """One agent's container, from its first spawn until it is purged."""

    class Desired(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"
        DESTROYED = "destroyed"

    class Status(models.TextChoices):
        CREATING = "creating"
        RUNNING = "running"
        STOPPED = "stopped"
        FAILING = "failing"
        DESTROYING = "destroying"
        DESTROYED = "destroyed"
        PURGING = "purging"

    name = models.CharField(max_length=24, primary_key=True)
    role = models.CharField(max_length=12, default="agent")
    incarnation = models.CharField(max_length=36, default=new_incarnation, help_text="New with each spawn of the name.")
    driver = models.CharField(max_length=10)
    config = models.JSONField(default=dict, help_text="What was given of AgentConfig.")
    source = models.TextField(default="", help_text="The applied agent.toml or agent.nix, to the byte; '' for none.")
    uid = models.BigIntegerField(unique=True, help_text="The host user that its files belong to, for good.")
    port = models.PositiveIntegerField(null=True, unique=True, help_text="Shows its page on the host.")
    desired = models.CharField(max_length=10, choices=Desired, default=Desired.RUNNING)
    status = models.CharField(max_length=10, choices=Status, default=Status.CREATING)
    status_since = models.DateTimeField(default=timezone.now)
    op = models.CharField(max_length=8, default="", help_text="What is to be done now; '' when nothing is.")
    intent = models.PositiveIntegerField(
        default=0, help_text="Counts the wishes: a later one ends the work on an earlier."
    )
    step = models.CharField(max_length=80, default="", help_text="What the work on `op` is at.")
    error = models.TextField(default="", help_text="Why it fails, in a sentence.")
    fingerprint = models.CharField(max_length=64, default="", help_text="Of what the running container was made from.")
    due = models.BooleanField(default=False, help_text="It is to be rebuilt as soon as it runs no turn.")
    tried = models.CharField(
        max_length=64, default="", help_text="The fingerprint that it was last rebuilt for by itself: tried once."
    )
    paused = models.BooleanField(default=False)
    paused_at = models.DateTimeField(null=True)
    held_until = models.DateTimeField(null=True, help_text="Its daily budget is spent until then.")
    held_at = models.DateTimeField(null=True)
    let_on = models.DateField(null=True, help_text="The day on which it may spend more than its budget.")
    restarts = models.PositiveIntegerField(default=0, help_text="How often it was started again by itself.")
    deaths = models.JSONField(
        default=list, help_text="When it ended unasked, in seconds since 1970, since it last ran well."
    )
    retry_at = models.DateTimeField(null=True, help_text="When it is started again.")
    purged = models.JSONField(null=True, help_text="What a purge removed: shown for a moment, then the row goes.")
    spawned_by = models.CharField(max_length=80, default="operator")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    # ---- coming into being

    @classmethod
    def check_spawn(cls, name: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """What a spawn would make, as it is shown before a yes; Refused when it could not be made."""
        alive = set(cls.objects.exclude(status=cls.Status.DESTROYED, op="").values_list("name", flat=True))
        names.check(name, alive)
        if name in alive:
            raise Refused("conflict", f"An agent called {name!r} already exists.", "name_taken")
        return {"name": name, "config": AgentConfig.read(config).written()}

    @classmethod
    def spawn(
        cls, name: str, role: str = "agent", config: dict[str, Any] | None = None, by: str = "operator"
    ) -> "Container":
        """A new agent that will start at once. A name that was destroyed but not purged finds all that it had left."""
        wanted = cls.check_spawn(name, config)
        with transaction.atomic():
            return cls._spawn(name, role, wanted["config"] if config is not None else None, by)

    @classmethod
    def ensure_manager(cls) -> "Container":
        """The manager's row: the one that nobody spawns."""
        with transaction.atomic():
            row = cls.objects.filter(name=names.MANAGER).first()
            return row or cls._spawn(names.MANAGER, "manager", None, "hive")

    @classmethod
    def _spawn(cls, name: str, role: str, config: dict[str, Any] | None, by: str) -> "Container":
        cls.gone().filter(name=name).delete()
        row = cls.objects.filter(name=name).first() or cls(name=name, **cls._allotted(name, role))
        fresh = cls(name=name, role=role, uid=row.uid, port=row.port, config=row.config, source=row.source)
        fresh.driver = cls._best_driver()
        if config is not None:
            fresh.config = config
            fresh.source = "" if fresh.config_file == "agent.nix" else AgentConfig.read(config).as_toml()
        fresh.op, fresh.intent, fresh.spawned_by = "start", row.intent + 1, by
        fresh.save()
        Mailbox.objects.update_or_create(name=name, defaults={"role": role, "open": True})
        Agent.objects.get_or_create(name=name)
        fresh._changed()
        return fresh

    @classmethod
    def _allotted(cls, name: str, role: str) -> dict[str, int | None]:
        rows = cls.objects.all()
        uids, ports = set(rows.values_list("uid", flat=True)), set(rows.values_list("port", flat=True))
        return {"uid": allot.uid(uids), "port": allot.port(name, role, ports)}

    @classmethod
    def _best_driver(cls) -> str:
        try:
            return drivers.choose(settings.HIVE_DRIVER)
        except drivers.DriverError as error:
            raise Refused("refused", str(error), "no_driver") from None

    @classmethod
    def named(cls, name: str) -> "Container":
        row = cls.objects.filter(name=name).first()
        if row is None:
            near = difflib.get_close_matches(name, cls.objects.values_list("name", flat=True), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise Refused("not_found", f"No agent is called {name[:40]!r}.{hint}", "unknown_agent")
        return row

    @classmethod
    def takes_no_message(cls, name: str) -> bool:
        """Whether it is paused, about to be ended or rebuilt, or out of budget. Every claim asks this, so it is raw SQL."""
        return bool(hot.rows(TAKES_NO_MESSAGE, name=name)) or (
            settings.HIVE_DAILY_BUDGET_USD > 0 and budget.spent(name)
        )

    @classmethod
    def running(cls) -> models.QuerySet["Container"]:
        return cls.objects.filter(desired=cls.Desired.RUNNING)

    @classmethod
    def gone(cls) -> models.QuerySet["Container"]:
        """Purged to the end: such a row only tells for a moment what was removed."""
        return cls.objects.filter(purged__isnull=False, op="", status=cls.Status.DESTROYED)

    # ---- wishes

    def start(self) -> None:
        self._intend("start", self.Desired.RUNNING)

    def stop(self) -> None:
        self._intend("stop", self.Desired.STOPPED)

    def kill(self) -> None:
        """Stop without asking."""
        self._intend("kill", self.Desired.STOPPED)

    def restart(self) -> None:
        self._intend("restart", self.Desired.RUNNING)

    def rebuild(self) -> None:
        """Start it anew from what is configured now; what runs goes on when that cannot be prepared."""
        self._intend("rebuild", self.Desired.RUNNING)

    def rebuild_when_idle(self, **columns: Any) -> bool:
        """Rebuild it in the same moment in which it is seen to run no turn; False when it runs one, or is otherwise busy.

        The claim of a message looks at `op`, so no turn begins in between. `columns` are set along with it.
        """
        idle = type(self).objects.filter(pk=self.pk, incarnation=self.incarnation, op="", desired=self.Desired.RUNNING)
        idle = idle.exclude(models.Exists(Lease.objects.filter(recipient=self.pk)))
        if not idle.update(intent=models.F("intent") + 1, **WISH, op="rebuild", **columns):
            return False
        self.refresh_from_db()
        self._changed()
        return True

    def destroy(self, purge: bool = False) -> None:
        """End it for good. Its files and messages stay, for a later spawn of the name, unless they are purged."""
        if self.role == "manager":
            raise Refused(
                "refused", f"The manager cannot be destroyed: stop it with 'hive stop {self.name}'.", "is_manager"
            )
        self._intend("purge" if purge else "destroy", self.Desired.DESTROYED)

    def _intend(self, op: str, desired: str) -> None:
        """One UPDATE: the last wish wins, but nothing overtakes the end of a container."""
        open_to = type(self).objects.filter(pk=self.pk)
        if op == "purge":
            open_to = open_to.exclude(op="purge")
        elif op == "destroy":
            open_to = open_to.exclude(op__in=ENDING).exclude(status=self.Status.DESTROYED)
        else:
            open_to = open_to.exclude(desired=self.Desired.DESTROYED)
        if type(self).gone().filter(pk=self.pk).exists():
            raise Refused("not_found", f"{self.name} was destroyed and purged.", "unknown_agent")
        done = open_to.update(intent=models.F("intent") + 1, **WISH, op=op, desired=desired)
        self.refresh_from_db()
        if not done:
            now = "is being" if self.op else "was already"
            raise Refused("conflict", f"{self.name} {now} destroyed; spawn it anew to have it again.", "destroyed")
        self._changed()

    def pause(self) -> None:
        """Let the turn that runs end, and begin no other."""
        self._set_paused(True)

    def resume(self) -> None:
        """Let it go on; where its budget was what held it, for the rest of the day."""
        if self.held:
            self.held_until, self.let_on = None, timezone.now().date()
            self.save(update_fields=["held_until", "let_on"])
        self._set_paused(False)

    @property
    def held(self) -> bool:
        """Whether its daily budget is spent."""
        return self.held_until is not None and self.held_until > timezone.now()

    def _set_paused(self, paused: bool) -> None:
        self.paused, self.paused_at = paused, timezone.now() if paused else None
        self.save(update_fields=["paused", "paused_at"])
        publish_on_commit(f"control:{self.name}", f"inbox:{self.name}")
        self._changed()

    def interrupt(self) -> None:
        """End the turn that runs now; it goes on with the next message."""
        lease = Lease.objects.filter(recipient=self.name).first()
        if lease is None:
            raise Refused("conflict", f"{self.name} runs no turn.", "no_turn")
        Agent.objects.filter(name=self.name).update(interrupt=lease.turn, keep=False)
        publish_on_commit(f"control:{self.name}")

    def log_in(self) -> Login:
        """Begin a login to Claude in it."""
        if self.state()[0] == "offline":
            raise Refused(
                "conflict", f"{self.name} does not run: start it with 'hive start {self.name}'.", "not_running"
            )
        login = Login.of(self.name)
        login.begin()
        return login

    def _changed(self) -> None:
        publish_on_commit("containers", f"agent:{self.name}")
        pool.nudge_on_commit(self.name)

    @classmethod
    def carry_out(cls, name: str) -> None:
        """Do what the row asks for; to be called in a worker's thread."""
        from .steps import carry_out  # it imports us

        carry_out(name)

    # ---- how it is

    def state(self, agent: Agent | None = None) -> tuple[str, datetime, str]:
        """One of the words of agents.STATES, since when, and the sentence behind it ('' when the word says it all).

        `agent` is its row as the harness describes it, from who has it at hand.
        """
        if own := self._own_state():
            return own
        agent = agent or Agent.objects.filter(pk=self.name).first()
        if agent is None or agent.seen_at is None or agent.state == "offline":
            return "offline", self.status_since, "Its harness has not said hello yet."
        return agent.state, agent.state_since, agent.why

    def _own_state(self) -> tuple[str, datetime, str] | None:
        """What overrules the harness's own words."""
        if self.op:
            word = "rebuilding" if self.op == "rebuild" else "offline"
            return word, self.status_since, DOING[self.op] + (f": {self.step}." if self.step else ".")
        if self.status == self.Status.FAILING:
            return "failing", self.status_since, self.error
        if self.retry_at:
            return "failing", self.status_since, f"{self.error} It is started again at {self.retry_at:%H:%M:%S} UTC."
        if self.status != self.Status.RUNNING:
            return "offline", self.status_since, f"It is {self.status}."
        if self.paused:
            return "paused", self.paused_at or self.status_since, "The operator paused it: its messages wait."
        if self.held:
            return "paused", self.held_at or self.status_since, SPENT.format(name=self.name)
        return None

    def now(self) -> drivers.Status:
        """What its driver sees."""
        return drivers.driver(self.driver).status(self.name)

    def logs(self, after: int | None = None, limit: int = 32 * 1024) -> tuple[str, int]:
        text, following = drivers.driver(self.driver).logs(self.name, after, limit)
        return redacted(text), following

    def spec(self) -> Spec:
        config = AgentConfig.read(self.config)
        return Spec(self.name, self.role, self.uid, names.MANAGER, config, source=self.source)

    @property
    def config_file(self) -> str:
        """What its configuration is written in."""
        return "agent.nix" if self.driver == "nixos" else "agent.toml"

    @property
    def host_uid(self) -> int:
        """The host's user that its processes run as: who may connect to its sockets."""
        return drivers.driver(self.driver).owner(Spec(self.name, self.role, self.uid, names.MANAGER, PLAIN))

    @property
    def egress(self) -> list[str]:
        """Where it may connect to: what every agent needs, and what its configuration adds."""
        config = drivers.driver(self.driver).configured(self.name)
        return [*egress.EVERYONE, *(self.config if config is None else config).get("egress", [])]

    def as_json(self) -> dict[str, Any]:
        """One row of `hive list --json` (schema 1)."""
        state, since, why = self.state()
        now = self.now()
        agent = Agent.objects.filter(pk=self.name).first()
        plain = (
            "name", "role", "incarnation", "driver", "port", "desired", "status", "op", "step", "error", "fingerprint",
            "due", "paused", "restarts", "purged", "config",
        )  # fmt: skip
        return {name: getattr(self, name) for name in plain} | {
            "uid": self.host_uid,
            "state": state,
            "state_since": since.isoformat(),
            "why": why,
            "status_since": self.status_since.isoformat(),
            "created_at": self.created_at.isoformat(),
            "held_until": self.held_until.isoformat() if self.held_until and self.held else None,
            "inbox": Message.waiting(self.name),
            "cli_version": agent.cli_version if agent else "",
            "pid": now.pid,
            "started_at": now.started_at.isoformat() if now.started_at else None,
            "exit_code": now.exit_code,
            "egress": egress_told.traffic(self.name),
        }
