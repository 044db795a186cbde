"""`hive VERB`: the table of verbs, and the one door that every end of a command goes through."""

import argparse
import asyncio
import inspect
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from broker.wire import Refused, Unreachable
from hyperhive.cli import (
    completion,
    containers,
    decisions,
    diary,
    doctor,
    ends,
    export,
    finding,
    hive,
    logins,
    talk,
    top,
)
from hyperhive.cli.ends import End
from hyperhive.cli.host import Host
from hyperhive.cli.parser import Verb, arg, build, verb
from hyperhive.cli.since import hours, seconds_ago
from hyperhive.cli.terminal import Terminal, no_more_readers

ROLES = ("viewer", "operator", "admin")  # dashboard.roles.ROLES, which a command that only asks does not load
NAME = arg("name", metavar="NAME", help="the agent")
ID = arg("id", metavar="ID", type=int, help="its number")
# Made whole here, because the host's working directory is not ours.
PATH = arg("path", nargs="?", type=os.path.abspath, metavar="PATH", help="a file that is not there yet")
FOLLOW = arg("-f", "--follow", action="store_true", help="go on with what is new, until Ctrl-C")
WAIT = (
    arg("--wait", action=argparse.BooleanOptionalAction, default=True, help="until it is done"),
    arg("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long to wait (300)"),
)


def limit(count: int, what: str = "rows") -> tuple[tuple[str, ...], dict[str, Any]]:
    return arg("--limit", type=int, default=count, metavar="N", help=f"at most so many {what} ({count})")


# Verb -> what does it, what it says of itself, its arguments. A coroutine asks the running hive over host.sock.
VERBS: dict[str, Verb] = {
    # ---- the hive
    "serve": verb(
        hive.serve,
        "run the hive",
        arg("--bind", metavar="HOST:PORT", help="where its pages are (127.0.0.1:7000)"),
        arg("--driver", metavar="D", help="what containers are made of; without it the best that this machine can do"),
        arg(
            "--trust-agents",
            action="store_true",
            help="start although agents would not be kept apart from this machine",
        ),
        arg("--stop-agents", action="store_true", help="stop the agents too when the hive stops"),
    ),
    "demo": verb(
        hive.demo,
        "watch a hive of its own at work, with a scripted model",
        arg("--exit", action="store_true", help="run to the end unattended; exit code 0 if every step was seen"),
        arg("--driver", metavar="D", help="what containers are made of"),
        arg("--countdown", type=float, metavar="SECONDS", help="how long the tour leaves an approval to you"),
    ),
    "doctor": verb(doctor.doctor, "what this machine has of what a hive needs, and what mends it; exit code 1 to mend"),
    # ---- agents
    "list": verb(containers.list_, "every agent, and what it does right now"),
    "status": verb(
        containers.status, "one agent, or all; exit code 1 if one is failing", arg("name", nargs="?", metavar="NAME")
    ),
    "why": verb(containers.why, "the one cause of an agent's state, and what mends it", NAME),
    "spawn": verb(
        containers.spawn,
        "make a new agent, or bring back a destroyed one",
        NAME,
        arg("--role", metavar="R", help="agent, which it is without it"),
        arg("--config", metavar="FILE", help="its configuration, TOML (or JSON, if the name ends in .json)"),
        *WAIT,
    ),
    "start": verb(containers.change, "start a stopped agent", NAME, *WAIT),
    "stop": verb(containers.change, "stop an agent in good order", NAME, *WAIT),
    "restart": verb(containers.change, "stop and start an agent", NAME, *WAIT),
    "kill": verb(containers.change, "stop an agent at once, its turn included", NAME, *WAIT),
    "rebuild": verb(
        containers.rebuild,
        "make an agent's container anew from what was approved",
        arg("name", nargs="?", metavar="NAME", help="the agent, at once"),
        arg("--stale", action="store_true", help="those that an upgrade has left behind, each when it runs no turn"),
        arg("--all", action="store_true", help="all that run, each when it runs no turn"),
        *WAIT,
    ),
    "destroy": verb(
        containers.destroy,
        "remove an agent; its notes, login and log stay unless purged",
        NAME,
        arg("--purge", action="store_true", help="remove its notes, login, configuration and log too"),
        *WAIT,
    ),
    "interrupt": verb(containers.mark, "end the turn that an agent runs now", NAME),
    "pause": verb(containers.mark, "let an agent's messages wait", NAME),
    "resume": verb(containers.mark, "let a paused agent go on", NAME),
    "panic": verb(
        containers.panic,
        "end every turn now and begin none; messages wait",
        arg("--over", action="store_true", help="let those go on whom it has paused"),
    ),
    "login": verb(
        logins.login,
        "log an agent in to Claude: prints its link, then takes the code",
        NAME,
        arg("--code", type=logins.code, metavar="CODE", help="what the sign-in page showed; - reads it from stdin"),
        arg("--qr", action="store_true", help="the link as a QR code, too"),
        arg("--logout", action="store_true", help="log it out instead"),
        arg("--timeout", type=float, default=60.0, metavar="SECONDS", help="how long to wait for each answer (60)"),
    ),
    "logout": verb(logins.logout, "log an agent out of Claude", NAME),
    "logs": verb(diary.logs, "what an agent's container wrote", NAME, FOLLOW, limit(32768, "bytes")),
    "events": verb(diary.events, "what an agent did, step by step", NAME, FOLLOW, limit(50)),
    "turns": verb(diary.turns, "an agent's turns: outcome, length, cost", NAME, limit(50)),
    # ---- messages
    "send": verb(
        talk.send,
        "send a message to an agent",
        arg("to", metavar="TO", help="the agent"),
        arg("text", type=talk.text, metavar="TEXT", help="the message; - reads it from stdin"),
        arg("--wait", action="store_true", help="for the reply, and print it"),
        arg("--timeout", type=float, default=600.0, metavar="SECONDS", help="how long to wait (600)"),
    ),
    "inbox": verb(talk.inbox, "read what agents wrote to you; what was printed counts as read", FOLLOW),
    "messages": verb(
        talk.messages,
        "messages of everybody, delivered or not",
        FOLLOW,
        arg("--to", metavar="NAME", help="only to it"),
        arg("--from", dest="sender", metavar="NAME", help="only from it"),
        arg(
            "--since",
            type=seconds_ago,
            metavar="TIME",
            help="only younger: 90s, 10m, 2h, 7d, or 2026-01-31T12:00 (UTC)",
        ),
        limit(50),
    ),
    "requeue": verb(
        talk.requeue, "give a dead message another try", arg("id", metavar="MESSAGE", type=int, help="its number")
    ),
    "search": verb(
        finding.search,
        "look for words in agents, messages, decisions and events",
        arg("words", nargs="*", metavar="WORD", help="words, -without, from: to: agent: before: (`--` before a -word)"),
        arg("--all", action="store_true", help="go on until all events were looked through"),
    ),
    "audit": verb(
        finding.audit,
        "what operators did: who, when and from where",
        arg("name", nargs="?", metavar="NAME", help="only to that agent or user"),
        limit(50),
    ),
    # ---- what needs a yes
    "approvals": verb(
        decisions.approvals, "what waits for you", arg("--all", action="store_true", help="what was decided, too")
    ),
    "show": verb(decisions.show, "all of an approval, exactly as it would be approved", ID),
    "approve": verb(decisions.approve, "say yes to an approval, after showing it", ID),
    "history": verb(decisions.history, "the configurations that were applied to an agent", NAME),
    "rollback": verb(
        decisions.rollback,
        "apply an earlier configuration again",
        NAME,
        arg(
            "rev", nargs="?", metavar="REV", help="as `hive history` shows it; without it the newest other that worked"
        ),
        *WAIT,
    ),
    "deny": verb(decisions.deny, "say no, with a reason", ID, arg("--reason", required=True, metavar="TEXT")),
    # ---- upkeep
    "top": verb(
        top.top,
        "the hive on one screen, every second; q ends it",
        arg("--once", action="store_true", help="print it once"),
    ),
    "export": verb(
        export.export,
        "everything of a kind, oldest first, to stdout",
        arg("kind", metavar="KIND", choices=export.KINDS, help="messages, events, approvals or turns"),
        arg("--agent", metavar="NAME", help="only what is its own"),
        arg("--since", type=seconds_ago, metavar="TIME", help="only younger: 90s, 10m, 2h, 7d, or an ISO time (UTC)"),
        arg(
            "--format",
            metavar="F",
            choices=export.FORMS,
            default="ndjson",
            help="ndjson (the default), csv, or md for turns",
        ),
    ),
    "completion": verb(
        lambda o: completion.completion(o, VERBS),
        "what a shell needs to complete these verbs",
        arg("shell", metavar="SHELL", choices=completion.SHELLS, help="bash, zsh or fish"),
    ),
    "link": verb(
        hive.link,
        "a fresh link to sign in with, good once",
        arg("name", nargs="?", metavar="USER", help="whom it signs in: operator, if nobody is named"),
        arg("--role", metavar="R", choices=ROLES, help="the most that it may do: viewer, operator or admin"),
        arg("--qr", action="store_true", help="for a phone's camera too, on stderr"),
    ),
    "users": verb(hive.users, "who may sign in, and as what"),
    "user": verb(
        hive.user,
        "give somebody a role, or remove them",
        arg("act", metavar="ACT", choices=("add", "remove"), help="add (or change), or remove"),
        arg("name", metavar="USER", help="a name of a-z, 0-9 and -"),
        arg(
            "--role",
            metavar="R",
            choices=ROLES,
            help="viewer (looks), operator (decides, sends, changes agents) or admin (gives roles, too)",
        ),
    ),
    "mute": verb(
        hive.mute,
        "tell nobody outside of what waits, for a while",
        arg("time", nargs="?", type=hours, metavar="TIME", help="1h, 8h, 2d, or off; without it says how it is"),
    ),
    "notify": verb(hive.notify, "try out whether word arrives outside"),
    "version": verb(hive.version, "which hyperhive this is, and which one runs"),
    "vacuum": verb(hive.vacuum, "remove delivered messages past their retention now"),
    "backup": verb(hive.backup, "copy the database while the hive goes on", PATH),
    "restore": verb(
        hive.restore,
        "put a backup in the database's place, while no hive runs",
        arg("path", type=os.path.abspath, metavar="PATH", help="the backup; what it replaces is kept aside"),
    ),
}


class Command(BaseCommand):
    """Django's frame around the table; nothing of Django's own options is offered."""

    help = "Run a hive, or talk to the one that runs."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return build(VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        o = argparse.Namespace(**options)
        out = Terminal(o.json, o.quiet)
        try:
            code = run(out, o)
        except BaseException as error:
            code, sentence = ended(error)
            if sentence:
                out.say(f"hive: {sentence}")
        if code:
            sys.exit(code)


def run(out: Terminal, o: argparse.Namespace) -> int | None:
    do = VERBS[o.verb].do
    return asyncio.run(asked(do, out, o)) if inspect.iscoroutinefunction(do) else do(o)


async def asked(do: Any, out: Terminal, o: argparse.Namespace) -> int | None:
    host = Host(settings.HIVE_RUNTIME_DIR / "host.sock")
    try:
        return await do(host, out, o)
    finally:
        await host.close()


def ended(error: BaseException) -> tuple[int, str]:
    """The exit code and the sentence for whatever ended a command; what is a fault of ours goes on as it is."""
    match error:
        case End():
            return error.code, str(error)
        case Refused():
            return ends.KINDS.get(error.kind, ends.FAILED), str(error)
        case Unreachable():
            return ends.UNREACHABLE, f"{error} Is `hive serve` running? Another hive is named by HIVE_RUNTIME_DIR."
        case TimeoutError():
            return ends.TIMED_OUT, "The hive did not answer in time."
        case KeyboardInterrupt():
            return ends.INTERRUPTED, ""
        case BrokenPipeError():
            no_more_readers()
            return ends.FAILED, ""
    raise error
