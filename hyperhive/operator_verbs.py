"""What the operator may say."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from django.conf import settings
from django.utils import timezone
from pydantic import Field

from agents import cli
from agents.models import Event, Login, Turn
from approvals import intake
from approvals.models import Approval
from broker import backups, disk
from broker.models import OPERATOR, Message
from broker.tasks import vacuum_now
from broker.wire import Refused
from dashboard import auth, notices, roles
from dashboard import search as searching
from dashboard.acts import EVERYONE, Act
from lifecycle import isolation, update
from lifecycle import panic as panics
from lifecycle.models import Container

from . import __version__
from . import doctor as doctors
from .agent_verbs import acted
from .caller import Caller, Count, Id, Name, Page, Why, writer

# ---- what the operator may say ----------------------------------------------------------------------------------------


def ack(caller: Caller, turn: Id) -> dict:
    """The operator has read what this turn took."""
    return {"acked": Message.ack(caller.name, turn)}


def status(caller: Caller, name: Name) -> dict:
    return Container.named(name).as_json()


def spawn(caller: Caller, name: Name, role: Literal["agent"] = "agent", config: dict[str, Any] | None = None) -> dict:
    row = Container.spawn(name, role=role, config=config, by=caller.name)
    note(caller, "spawn", name)
    return row.as_json()


def did(caller: Caller, verb: str, name: str, act: Callable[[Container], Any]) -> dict:
    row = acted(Container.named(name), act)
    note(caller, verb, name)
    return row


def note(caller: Caller, verb: str, target: str = "", words: str = "") -> None:
    Act.note((caller.name, caller.where), verb, target, words)


def start(caller: Caller, name: Name) -> dict:
    return did(caller, "start", name, Container.start)


def stop(caller: Caller, name: Name) -> dict:
    return did(caller, "stop", name, Container.stop)


def restart(caller: Caller, name: Name) -> dict:
    return did(caller, "restart", name, Container.restart)


def kill(caller: Caller, name: Name) -> dict:
    return did(caller, "kill", name, Container.kill)


def rebuild(caller: Caller, name: Name) -> dict:
    return did(caller, "rebuild", name, Container.rebuild)


def rebuild_many(caller: Caller, which: Literal["stale", "all"] = "stale") -> dict:
    """Make the containers anew that are stale, or all that run: each when it runs no turn. Which they are."""
    stale = update.stale() if which == "stale" else [(row, "") for row in Container.running()]
    for row, wanted in stale:
        update.soon(row, wanted)
        note(caller, "rebuild", row.name, which)
    return {"agents": [Container.named(row.name).as_json() for row, _ in stale]}


def destroy(caller: Caller, name: Name, purge: bool = False) -> dict:
    return did(caller, "purge" if purge else "destroy", name, partial(Container.destroy, purge=purge))


def pause(caller: Caller, name: Name) -> dict:
    return did(caller, "pause", name, Container.pause)


def resume(caller: Caller, name: Name) -> dict:
    return did(caller, "resume", name, Container.resume)


def interrupt(caller: Caller, name: Name) -> dict:
    """End the turn that runs now; the agent goes on with the next message."""
    return did(caller, "interrupt", name, Container.interrupt)


def panic(caller: Caller) -> dict:
    """Every turn ends now and none begins; what they were at waits."""
    paused, ended = panics.stop_every_turn()
    note(caller, "panic", EVERYONE, panics.told(paused, ended))
    return {"paused": paused, "ended": ended}


def panic_over(caller: Caller) -> dict:
    """Those go on whom the panic has paused."""
    if (since := panics.since(Container.running())) is None:
        raise Refused("conflict", "Not everybody is paused: 'hive resume NAME' lets one go on.", "no_panic")
    resumed = panics.go_on(since)
    note(caller, "panic over", EVERYONE, ", ".join(resumed))
    return {"resumed": resumed}


def login(caller: Caller, name: Name) -> dict:
    """Begin a login to Claude in an agent's container; its link comes with `login_state`."""
    login = Container.named(name).log_in()
    note(caller, "login start", name)
    return login.as_json()


def login_state(caller: Caller, name: Name) -> dict:
    return Login.of(Container.named(name).name).as_json()


def login_code(caller: Caller, name: Name, code: Annotated[str, Field(max_length=2000)]) -> dict:
    """Pass on the code that the sign-in page showed."""
    return wished(caller, "login code", name, partial(Login.give, code=code))


def login_cancel(caller: Caller, name: Name) -> dict:
    return wished(caller, "login cancel", name, Login.cancel)


def logout(caller: Caller, name: Name) -> dict:
    """Have claude in that container forget its login."""
    return wished(caller, "login logout", name, Login.log_out)


def wished(caller: Caller, verb: str, name: str, wish: Callable[[Login], None]) -> dict:
    login = Login.of(Container.named(name).name)
    wish(login)
    note(caller, verb, name)
    return login.as_json()


def approvals(
    caller: Caller, state: Literal["pending", "all"] = "pending", after: Count | None = None, limit: Page = 100
) -> dict:
    """All that wait, or the newest of any state; with `after` the next ones. Oldest first."""
    if state == "pending" and after is None:
        rows = list(Approval.pending())
    else:
        some = Approval.pending() if state == "pending" else Approval.objects.all()
        rows = page(some.filter(**given({"pk__gt": after})), after, limit)
    return {"approvals": [row.as_json() for row in rows], "last": rows[-1].pk if rows else after or 0}


def show(caller: Caller, id: Count) -> dict:
    """All of it, with the difference and the settings that change."""
    return Approval.numbered(id).shown()


def history(caller: Caller, name: Name) -> dict:
    """What was applied to an agent, the newest first."""
    return {"name": name, "history": intake.history(Container.named(name).name)}


async def rollback(
    caller: Caller, name: Name, rev: Annotated[str, Field(pattern=r"^[0-9a-f]{4,40}$")] | None = None
) -> dict:
    """Apply what was applied before: the revision, or the newest other one that is not known to fail."""
    found = await asyncio.to_thread(intake.earlier, name, rev or "")
    row = await writer.write(partial(rolled_back, caller, name, rev or "", found))
    return await asyncio.to_thread(row.shown)


def rolled_back(caller: Caller, name: str, rev: str, found: intake.Proposal) -> Approval:
    row = Approval.rollback(caller.name, caller.where, name, rev, found)
    note(caller, "rollback", name, f"#{row.pk}")
    return row


def approve(caller: Caller, id: Count, sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]) -> dict:
    approval = Approval.numbered(id)
    approval.approve(caller.name, caller.where, seen=sha256)
    note(caller, "approve", approval.agent, f"#{id}")
    return approval.as_json()


def deny(caller: Caller, id: Count, reason: Why = "") -> dict:
    approval = Approval.numbered(id)
    approval.deny(caller.name, caller.where, reason)
    note(caller, "deny", approval.agent, f"#{id}")
    return approval.as_json()


def messages(
    caller: Caller,
    to: Name | None = None,
    sender: Name | None = None,
    since: Annotated[float, Field(ge=0)] | None = None,
    after: Count | None = None,
    before: Count | None = None,
    limit: Page = 50,
) -> dict:
    """The newest messages that fit, or, with `after`, the next ones; oldest first. `since` is an age in seconds."""
    wanted = {
        "recipient": to,
        "sender": sender,
        "created_at__gte": timezone.now() - timedelta(seconds=since) if since is not None else None,
        "pk__gt": after,
        "pk__lt": before,
    }
    rows = page(Message.objects.filter(**given(wanted)), after, limit)
    return {"messages": [row.as_json() for row in rows], "last": rows[-1].pk if rows else after or 0}


def given(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def page(rows: Any, after: int | None, limit: int) -> list:
    """With a cursor the next rows, without one the newest; oldest first either way."""
    if after is not None:
        return list(rows.order_by("pk")[:limit])
    return list(rows.order_by("-pk")[:limit])[::-1]


def events_of(caller: Caller, name: Name, after: Count | None = None, limit: Page = 100) -> dict:
    rows = page(Event.objects.filter(agent=Container.named(name).name, **given({"pk__gt": after})), after, limit)
    return {"events": [row.as_json() for row in rows], "last": rows[-1].pk if rows else after or 0}


def turns(caller: Caller, name: Name, after: Count | None = None, limit: Page = 50) -> dict:
    """The newest turns, or those after a number; oldest first."""
    rows = Turn.objects.filter(agent=Container.named(name).name, **given({"number__gt": after}))
    found = list(rows.order_by("number")[:limit] if after is not None else rows.order_by("-number")[:limit][::-1])
    return {"turns": [turn.as_json() for turn in found], "last": found[-1].number if found else after or 0}


def logs(
    caller: Caller, name: Name, after: Count | None = None, limit: Annotated[int, Field(ge=1, le=65536)] = 32768
) -> dict:
    """What the container's processes wrote, from byte `after`, or the end of it."""
    text, following = Container.named(name).logs(after, limit)
    return {"text": text, "next": following}


def requeue(caller: Caller, id: Count) -> dict:
    message = Message.objects.filter(pk=id).first()
    if message is None:
        raise Refused("not_found", f"There is no message {id}.", "unknown_message")
    message.requeue()
    note(caller, "requeue", message.recipient, f"#{id}")
    message.refresh_from_db()
    return message.as_json()


def link(caller: Caller, user: Name = OPERATOR, role: Name = roles.ROLES[-1]) -> dict:
    """A sign-in link, for one use within ten minutes; its session may do what the user may, but at most what the role may."""
    token, expires = auth.mint(user=user, role=role)
    note(caller, "link", user, role)
    return {"url": auth.link(token), "user": user, "role": role, "expires_at": expires.isoformat()}


def mute(caller: Caller, hours: Annotated[float, Field(ge=0, le=24 * 30)] | None = None) -> dict:
    """Tell nothing outside for so many hours (0: go on), or just say how it is."""
    if hours is None:
        return notices.muted()
    note(caller, "mute", words=f"{hours:g} h")
    return notices.mute(hours, caller.name, caller.where)


def notify(caller: Caller) -> dict:
    """A word to every place outside, to see whether it arrives."""
    return {"told": notices.test(caller.name)}


def users(caller: Caller) -> dict:
    """Who may sign in, and as what."""
    return {"users": auth.users()}


def user_add(caller: Caller, name: Name, role: Name) -> dict:
    """Make a user, or give one another role."""
    row = auth.give(name, role)
    note(caller, "user add", name, role)
    return row


def user_remove(caller: Caller, name: Name) -> dict:
    """A user and their sessions go."""
    removed = auth.remove(name)
    note(caller, "user remove", name)
    return removed


def vacuum(caller: Caller) -> dict:
    """Remove delivered messages past their retention now."""
    deleted = vacuum_now()
    note(caller, "vacuum", words=f"{deleted} messages")
    return {"deleted": deleted}


def backup(caller: Caller, path: str | None = None) -> dict:
    """A consistent copy of the database; the hive goes on meanwhile."""
    if path is None:
        target = backups.make("hive")
    else:
        target = Path(path)
        if not target.is_absolute():
            raise Refused("bad_params", f"A backup needs an absolute path, not {path!r}.", "relative_path")
        if target.exists():
            raise Refused("conflict", f"{target} is there already.", "file_exists")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        backups.copy(target)
    note(caller, "backup", words=str(target))
    return {"path": str(target), "bytes": target.stat().st_size}


def search(caller: Caller, query: Annotated[str, Field(max_length=500)], before: Count = 0) -> dict:
    """As the page searches. With `before` only events are looked through, those before that number."""
    wanted = searching.parsed(query)
    if wanted.hint or not wanted:
        raise Refused("bad_params", wanted.hint or "Say a word that is to be there, or a filter.", "no_query")
    return searching.found(wanted, before).as_json()


def audit(caller: Caller, target: str | None = None, before: Count | None = None, limit: Page = 50) -> dict:
    """What was done by operators, the newest or those before a number; oldest first."""
    rows = list(Act.of(target or "", before)[:limit])[::-1]
    return {"acts": [row.as_json() for row in rows]}


def about(caller: Caller) -> dict:
    """What runs here: version, driver, isolation level, Claude CLI."""
    letter, missing = isolation.level(settings.HIVE_DRIVER)
    return {
        "version": __version__,
        "driver": settings.HIVE_DRIVER,
        "level": letter,
        "missing": missing,
        "bind": settings.HIVE_BIND,
        "cli_wanted": cli.WANTED,
        "disk": disk.state(),
    }


def doctor(caller: Caller) -> dict:
    """What this machine has of what a hive needs, and what mends it."""
    return doctors.examine(running=True)
