"""Carries out what was approved: a journal whose every step may be done twice, so that a crash at any of them costs nothing.

A spawn is one transaction. A configuration goes commit -> switch -> check, and when the agent does not come up with it,
go_back -> return_ -> give_up. A step answers the name of the next, or None while it has to wait.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from django.db import transaction
from git.exc import GitError

from agents.models import Agent
from broker import points
from broker.events import publish_on_commit
from broker.wire import Refused
from lifecycle import repos
from lifecycle.config import AgentConfig
from lifecycle.drivers import DriverError
from lifecycle.models import Container

from .models import Approval

log = logging.getLogger("hive.approvals")

NO_CLAUDE = "Its harness says hello, but claude does not start under this configuration."


def carry_out(approval: Approval) -> None:
    """As far as it can be done now. A bug is written into the row before anybody hears of it."""
    approval.refresh_from_db()
    if approval.state not in (Approval.State.APPROVED, Approval.State.APPLYING):
        return
    try:
        KINDS[approval.kind](approval)
    except (Refused, DriverError, OSError, GitError, repos.BadCommit) as error:
        _fail(approval, str(error))
    except Exception:
        _fail(approval, "It stopped for a reason that only the daemon's log can tell.")
        log.exception("%s could not be carried out", approval)


def _fail(approval: Approval, why: str) -> None:
    with transaction.atomic():
        approval.settle(
            Approval.State.FAILED, f"approved by {approval.decided_by}, but it failed: {approval.error or why}", why
        )


# ---- a spawn ----------------------------------------------------------------------------------------------------------


def spawn(approval: Approval) -> None:
    """One transaction, so that it happened wholly, once, or not at all; the outcome's message is part of it."""
    points.reached("spawn.begin")
    with transaction.atomic():
        if not Approval.under_way().filter(pk=approval.pk).update(state=Approval.State.APPLYING):
            return
        Container.spawn(approval.agent, config=json.loads(approval.content)["config"], by=approval.requested_by)
        points.reached("spawn.within")
        approval.settle(
            Approval.State.APPLIED, f"approved by {approval.decided_by} and applied: {approval.agent} is starting."
        )
    points.reached("spawn.done")


# ---- a configuration --------------------------------------------------------------------------------------------------


def configure(approval: Approval) -> None:
    while approval.state in (Approval.State.APPROVED, Approval.State.APPLYING):
        step = approval.step or "commit"
        points.reached(f"apply_commit.{step}")
        following = STEPS[step](approval)
        points.reached(f"apply_commit.{step}.done")
        if following is None:
            return
        if following:
            _go_on(approval, following)


def _go_on(approval: Approval, step: str, **columns: Any) -> None:
    """Write where we are, unless a step has done so in its own transaction."""
    if approval.step == step:
        return
    approval.state, approval.step = Approval.State.APPLYING, step
    Approval.objects.filter(pk=approval.pk).update(state=approval.state, step=step, **columns)
    publish_on_commit("approvals")


def commit(approval: Approval) -> str:
    _write(approval, approval.content, f"#{approval.pk}: {approval.why}")
    return "switch"


def _write(approval: Approval, content: str, message: str) -> None:
    """Into the applied repository, unless it stands there already."""
    row = Container.named(approval.agent)
    applied = repos.Applied(approval.agent)
    if applied.current() != content.encode():
        applied.commit({row.config_file: content.encode()}, message, approval.requested_by)


def switch(approval: Approval) -> str | None:
    """The new configuration and the rebuild are one UPDATE, at a moment in which the agent runs no turn."""
    return _set(approval, approval.content, "check")


def _set(approval: Approval, content: str, following: str) -> str | None:
    row = approval.agents().first()
    if row is None:
        return _gone(approval)
    with transaction.atomic():
        columns = {"source": content, "config": _decoded(row, content), "tried": ""}
        if row.desired == Container.Desired.STOPPED and not row.op:
            approval.agents().filter(pk=row.pk, intent=row.intent).update(**columns)
        elif not row.rebuild_when_idle(**columns):
            return None
        points.reached(f"apply_commit.{approval.step}.within")
        _go_on(approval, following)
    return following


def _decoded(row: Container, content: str) -> dict[str, Any]:
    return AgentConfig.from_toml(content.encode()).written() if row.config_file == "agent.toml" else row.config


def check(approval: Approval) -> str | None:
    """It came up and its harness said hello (lifecycle/steps.py waits for that, with a deadline), or it did not."""
    row = approval.agents().first()
    if row is None:
        return _gone(approval)
    if row.op:
        return None
    if row.desired == Container.Desired.STOPPED:
        return _applied(approval, f"{row.name} starts with it when it is started.")
    if row.status == Container.Status.RUNNING and not row.error and Agent.objects.get(pk=row.name).cli_version:
        return _applied(approval, f"{row.name} runs with it.")
    _go_on(approval, "go_back", error=(row.error or NO_CLAUDE)[:2000])
    approval.refresh_from_db()
    return "go_back"


def _applied(approval: Approval, words: str) -> str:
    with transaction.atomic():
        approval.settle(Approval.State.APPLIED, f"approved by {approval.decided_by} and applied: {words}")
        points.reached("apply_commit.check.within")
        Approval.supersede(approval.agent, f"#{approval.pk} was applied meanwhile: ask again, on what is applied now")
    return ""


def _gone(approval: Approval) -> str:
    _fail(approval, f"{approval.agent} was destroyed meanwhile.")
    return ""


def go_back(approval: Approval) -> str:
    _write(approval, approval.before, f"Back: #{approval.pk} failed. {approval.error}"[:1000])
    return "return_"


def return_(approval: Approval) -> str | None:
    return _set(approval, approval.before, "give_up")


def give_up(approval: Approval) -> str | None:
    row = approval.agents().first()
    if row and row.op:
        return None
    well = row is not None and not row.error
    after = "the configuration from before is back." if well else "and with the one from before it does not run either."
    with transaction.atomic():
        reason = f"approved by {approval.decided_by}, but {approval.agent} did not come up with it: {approval.error}"
        approval.settle(Approval.State.FAILED, f"{reason.rstrip('.')}; {after}", approval.error)
    return ""


KINDS: dict[str, Callable[[Approval], None]] = {"spawn": spawn, "apply_commit": configure}
STEPS: dict[str, Callable[[Approval], str | None]] = {
    "commit": commit,
    "switch": switch,
    "check": check,
    "go_back": go_back,
    "return_": return_,
    "give_up": give_up,
}
