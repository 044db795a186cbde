"""Takes the README's screenshots of a hive at work, at 1280 and 390 px.

usage: python -m tests.e2e.shoot [DIRECTORY]
"""

import sys
from pathlib import Path

from hyperhive.demo.model import ScriptedModel
from hyperhive.demo.rules import Rule, Use
from hyperhive.demo.story import ASK, script
from tests.hives import Hive, until

from .conftest import open_browser

WIDTHS = (1280, 390)
DIGGER = Rule(
    user="second pair of eyes",
    reply=Use("mcp__hive__request_spawn", {"name": "reader", "why": "reads the audio papers"}),
)


def shoot(into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    with ScriptedModel([DIGGER, *script()]) as model:
        hive = Hive(model.url)
        try:
            work(hive.start())
            pictures(hive, into)
        finally:
            hive.close()


def work(hive: Hive) -> None:
    """The demo's story, and one more request that waits."""
    hive.idle("hm1nd")
    hive.ask("send", to="hm1nd", body=ASK)
    [first] = until(lambda: hive.ask("approvals")["approvals"], "hm1nd asks for scout")
    hive.ask("approve", id=first["id"], sha256=first["sha256"])
    until(lambda: len(hive.ask("messages", to="operator")["messages"]) == 2, "hm1nd answers")
    hive.ask("send", to="hm1nd", body="We need a second pair of eyes for the audio papers.")
    until(lambda: hive.ask("approvals")["approvals"], "hm1nd asks for reader")
    hive.idle("hm1nd")


def pictures(hive: Hive, into: Path) -> None:
    link = hive.json("link")["url"]
    with open_browser() as browser:
        context = browser.new_context()
        tab = context.new_page()
        tab.goto(link)
        tab.wait_for_url(f"http://127.0.0.1:{hive.port}/")
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            for name, path in (("dashboard", "/"), ("agent", "/agents/scout/")):
                tab.goto(f"http://127.0.0.1:{hive.port}{path}")
                tab.locator("#link", has_text="live").wait_for()
                tab.screenshot(path=str(into / f"{name}-{width}.png"), full_page=True)


if __name__ == "__main__":
    shoot(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots"))
