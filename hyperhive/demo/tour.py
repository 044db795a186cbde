"""`hive demo`: a hive of its own, a scripted model, and a walk through what happens in it, each step as it is seen.

1. a temporary hive starts  2. the operator asks hm1nd  3. its request is approved  4. scout works  5. hm1nd answers
6. a change of scout's configuration is committed, approved and applied  7. one that cannot work is taken back
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from broker.wire import Refused, Unreachable
from hyperhive.cli.ends import FAILED, INTERRUPTED, OK
from hyperhive.cli.terminal import Terminal
from hyperhive.demo import changes, steps, story, teller
from hyperhive.demo.model import ScriptedModel
from hyperhive.demo.steps import Denied, Missing, Step
from hyperhive.demo.teller import Teller
from hyperhive.demo.temporary import TemporaryHive

# Seconds.
LOOK = 0.2
COUNTDOWN = 30.0
PACE = 0.03


def run(options: Any) -> int:
    return asyncio.run(demo(options))


async def demo(options: Any) -> int:
    """The exit code: 0 once every step was seen, 1 with the directory kept, 130 when it was broken off before."""
    with Teller() as told, ScriptedModel(story.script()) as model:
        hive = TemporaryHive(model.url, options.driver or "")
        tour = Tour(hive, model, told, options)
        stop_on_signals()
        try:
            code = await tour.walk()
        except asyncio.CancelledError:
            code = OK if tour.done else INTERRUPTED
        except (Missing, Refused, Unreachable, TimeoutError) as error:
            told.failed(str(error))
            told.say(f"the logs are kept in {hive.place}")
            code = FAILED
        finally:
            await leave(hive, told)
        if code != FAILED:
            hive.remove()
    return code


def stop_on_signals() -> None:
    """The first Ctrl-C, SIGTERM or closed terminal ends the tour; later ones do not disturb the tidying up."""
    loop, running = asyncio.get_running_loop(), [task for task in [asyncio.current_task()] if task]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: running and running.pop().cancel())


async def leave(hive: TemporaryHive, told: Teller) -> None:
    told.waits_for("stopping the agents and the hive")
    for command in await hive.stop():
        told.failed(f"this had to be ended by force: {command}")
    told.rest()


class Tour:
    def __init__(self, hive: TemporaryHive, model: ScriptedModel, told: Teller, options: Any):
        self.hive, self.model, self.told = hive, model, told
        self.out = Terminal(options.json, options.quiet)
        self.unattended = options.exit
        self.countdown = COUNTDOWN if options.countdown is None else options.countdown
        self.times: dict[str, float] = {}
        self.done = False

    async def walk(self) -> int:
        await self.hive.start()
        await self.see(steps.ARRIVING)
        await self.invite()
        await self.prepare()
        try:
            await self.ask(story.ASK, steps.ASKING, story.WHY, steps.WORKING)
            await self.ask(story.CHANGE, changes.COMMITTING, changes.GOOD, changes.CHANGING)
            await self.decide(changes.BAD)
            await self.see(changes.GOING_BACK)
            self.done = True
            self.out.result(await self.summary(), teller.closing, lambda summary: summary["agents"])
        except Denied as denied:
            if self.unattended:
                raise Missing(f"{denied}.") from None
            self.done = True
            self.told.say(f"{denied}. The tour ends here.")
        if not self.unattended:
            await self.stay()
        return OK

    async def ask(self, words: str, before: Iterable[Step], why: str, after: Iterable[Step]) -> None:
        """hm1nd is asked; what is seen before, and after, the request that it makes of it is approved."""
        await steps.ask_manager(self.hive, words)
        await self.see(before)
        await self.decide(why)
        await self.see(after)

    async def see(self, some: Iterable[Step]) -> None:
        for step in some:
            self.told.waits_for(step.name)
            self.told.seen(await self.wait_for(step))
            self.times[step.name] = round(self.told.seconds, 1)

    async def wait_for(self, step: Step) -> str:
        try:
            async with asyncio.timeout(step.seconds):
                while not (sentence := await step.seen(self.hive)):
                    if self.hive.dead:
                        raise Missing(f"“{step.name}” was not seen. {self.hive.last_words()}")
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            states = await steps.states(self.hive)
            raise Missing(f"“{step.name}” was not seen within {step.seconds:g} s. {states}") from None
        return sentence

    async def invite(self) -> None:
        about, link = await self.hive.ask("about"), await self.hive.ask("link")
        if about["level"] in "CD":
            self.told.say(f"isolation level {about['level']}: {about['missing'][0]}")
        self.told.say(f"watch it: {link['url']}")
        self.told.say(f"or from another terminal: export HIVE_RUNTIME_DIR={self.hive.runtime}; .venv/bin/hive list")

    async def prepare(self) -> None:
        """The script has to name directories as the agents know them, which is known once the driver is."""
        driver = (await steps.row(self.hive, steps.MANAGER))["driver"]
        state, config = Path("/state"), Path("/agents/scout/config")
        if driver == "process":
            state, config = (self.hive.state / place for place in ("agents/scout/state", "proposed/scout/config"))
        self.model.rules = story.script(str(state), str(config), 0.0 if self.unattended else PACE)

    # ---- the yes

    async def decide(self, why: str) -> None:
        """The person's, or after the countdown the tour's: whoever is first. What it changes is shown before."""
        request = await changes.shown(self.hive, why)
        for line in changes.difference(request):
            self.told.say(f"  {line}")
        if not self.unattended:
            request = await self.leave_it_to_the_person(request)
        if request["state"] == "pending":
            # They may have been quicker after all; the next step shows what was decided.
            with contextlib.suppress(Refused):
                await self.hive.ask("approve", id=request["id"], sha256=request["sha256"])

    async def leave_it_to_the_person(self, request: dict[str, Any]) -> dict[str, Any]:
        how = f"approve it in the browser, or with `hive approve {request['id']}`"
        self.told.say(f"{how}; the tour approves in {self.countdown:g} s")
        until = self.told.seconds + self.countdown
        while request["state"] == "pending" and (left := until - self.told.seconds) > 0:
            self.told.waits_for(f"{how} ({left:.0f} s)")
            await asyncio.sleep(min(left, LOOK))
            request = await steps.request(self.hive, request["why"])
        return request

    # ---- the end

    async def summary(self) -> dict[str, Any]:
        agents = (await self.hive.ask("list"))["agents"]
        turns = [turn for agent in agents for turn in (await self.hive.ask("turns", name=agent["name"]))["turns"]]
        about = await self.hive.ask("about")
        return {
            "agents": [agent["name"] for agent in agents],
            "turns": len(turns),
            "approvals": await changes.approvals(self.hive),
            "messages": len((await self.hive.ask("messages", limit=1000))["messages"]),
            "cost_usd": round(sum(turn["cost_usd"] for turn in turns), 4),
            "cli_version": ", ".join(sorted({turn["cli_version"] for turn in turns})),
            "driver": ", ".join(sorted({agent["driver"] for agent in agents})),
            "isolation": about["level"],
            "seconds": round(self.told.seconds, 1),
            "steps": self.times,
        }

    async def stay(self) -> None:
        self.told.say("the hive stays: look around, write to hm1nd. Ctrl-C ends it and removes everything")
        self.told.waits_for("Ctrl-C ends it")
        await self.hive.ended()
        raise Missing(self.hive.last_words())
