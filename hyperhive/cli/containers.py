"""Verbs on containers: look at them, change them, and wait until the change is there."""

import contextlib
import json
import os
import time
import tomllib
from pathlib import Path
from typing import Any

from lifecycle import paths

from . import looks
from .ends import FAILED, USAGE, End
from .host import Host
from .since import ago
from .terminal import Terminal
from .waiting import judge, settled


async def list_(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("list"), looks.agents, names)


def names(result: dict[str, Any]) -> list[str]:
    return [row["name"] for row in result["agents"]]


def name(row: dict[str, Any]) -> list[str]:
    return [row["name"]]


async def status(host: Host, out: Terminal, o: Any) -> int:
    """Serves as a check too: FAILED when what was asked for is failing."""
    if o.name is None:
        found = await host.ask("list")
        out.result(found, looks.agents, names)
        rows = found["agents"]
    else:
        row = await host.ask("status", name=o.name)
        out.result(row, looks.agent, name)
        rows = [row]
    return FAILED if any(row["state"] == "failing" for row in rows) else 0


async def why(host: Host, out: Terminal, o: Any) -> None:
    out.result(await host.ask("why", name=o.name), looks.why, name)


async def spawn(host: Host, out: Terminal, o: Any) -> None:
    config = read_config(Path(o.config)) if o.config else None
    await finish(host, out, o, await host.ask("spawn", name=o.name, role=o.role, config=config))


def read_config(path: Path) -> dict[str, Any]:
    """An agent's configuration out of a TOML or JSON file; what it may say is for the host to judge."""
    try:
        text = path.read_text()
        config = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        json.dumps(config, allow_nan=False)
    except OSError as error:
        raise End(USAGE, f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError) as error:
        raise End(USAGE, f"{path} is no configuration: {error}.") from None
    return config


async def change(host: Host, out: Terminal, o: Any) -> None:
    """start, stop, restart, kill, rebuild: one verb, then wait."""
    await finish(host, out, o, await host.ask(o.verb, name=o.name))


async def rebuild(host: Host, out: Terminal, o: Any) -> None:
    """One agent at once, its turn included; several each when it runs no turn."""
    which = [which for which in ("stale", "all") if getattr(o, which)]
    if bool(o.name) + len(which) != 1:
        raise End(USAGE, "rebuild wants one of NAME, --stale and --all.")
    if o.name:
        return await change(host, out, o)
    found = await host.ask("rebuild_many", which=which[0])
    done = [await ready(host, out, row, o.timeout) for row in found["agents"]] if o.wait else found["agents"]
    out.result({"agents": done}, looks.rebuilt, names)
    for row in done if o.wait else ():
        judge(o.verb, row)
    return None


async def ready(host: Host, out: Terminal, row: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The row once its rebuild, which waits for its turn to end, is done."""
    row = row | {
        "op": row["op"] or "rebuild",
        "step": row["step"] or ("waiting for its turn to end" if row.get("due") else ""),
    }
    return await settled(host, out, row, seconds)


async def mark(host: Host, out: Terminal, o: Any) -> None:
    """interrupt, pause, resume: done when the host says so."""
    out.result(await host.ask(o.verb, name=o.name), looks.marked, name)


async def panic(host: Host, out: Terminal, o: Any) -> None:
    """Asks nothing: who says it is in a hurry."""
    if o.over:
        out.result(await host.ask("panic_over"), looks.panic_over, lambda result: result["resumed"])
    else:
        out.result(await host.ask("panic"), looks.panic, lambda result: result["ended"])


async def finish(host: Host, out: Terminal, o: Any, row: dict[str, Any]) -> None:
    if o.wait:
        row = await settled(host, out, row, o.timeout)
    out.result(row, looks.one_state, name)
    if o.wait:
        judge(o.verb, row)


# ---- destroy


async def destroy(host: Host, out: Terminal, o: Any) -> None:
    if not o.yes and not out.asks():
        raise End(USAGE, "destroy asks for the name, and nobody is here to be asked: say --yes.")
    row = await host.ask("status", name=o.name)
    announce(out, row, o.purge)
    if not o.yes and await out.ask("Type its name to go on:") != row["name"]:
        raise End(FAILED, "That was not its name: nothing was destroyed.")
    destroyed = await host.ask("destroy", name=o.name, purge=o.purge)
    await finish(host, out, o, destroyed)


def announce(out: Terminal, row: dict[str, Any], purge: bool) -> None:
    """Say what goes and what stays."""
    out.say(f"{row['name']} is to be destroyed; messages that wait for it: {row.get('inbox', 0)}.")
    out.say("These go for good:" if purge else f"These stay, and a later `hive spawn {row['name']}` finds them:")
    for path in paths.purged(row["name"], row["role"]):
        out.say(f"  {path}  {held(path)}")


def held(path: Path) -> str:
    """What is below a directory, as far as we may look. An agent fills it, so no link is followed, and there is an end."""
    files, size, last, left = 0, 0, 0.0, [str(path)]
    while left and files < 100_000:
        with contextlib.suppress(OSError):
            for entry in os.scandir(left.pop()):
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    found = entry.stat(follow_symlinks=False)
                    files, size, last = files + 1, size + found.st_size, max(last, found.st_mtime)
    return f"{files} files, {size} bytes, last written {ago(time.time() - last)} ago" if files else "nothing to be seen"
