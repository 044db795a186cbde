"""The pages over a whole hive: the daemon, its agents in containers, the real CLI; only the model is scripted."""

import re

import pytest

from hyperhive.demo.rules import Rule, Use

from .conftest import open_browser, sync_api, watched

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.claude, pytest.mark.bwrap, pytest.mark.timeout(240)]

RULES = [
    Rule(user="a second pair of eyes", reply=Use("mcp__hive__request_spawn", {"name": "scout", "why": "it reads"})),
    Rule(used="mcp__hive__request_spawn", reply="I asked for scout."),
    Rule(user="approved", reply=Use("mcp__hive__send", {"to": "operator", "body": "scout is here"})),
    Rule(used="mcp__hive__send", reply="Done."),
]


def test_the_operator_asks_the_manager_and_approves_what_it_wants(hive):
    here = hive(*RULES)
    here.idle("hm1nd")
    # Playwright's sync API runs a loop on this thread, so from here on the hive is asked by its command line.
    with open_browser() as browser:
        tab = watched(browser)
        tab.goto(here.json("link")["url"])
        tab.wait_for_url(f"http://127.0.0.1:{here.port}/")
        tab.get_by_label("message", exact=True).fill("I want a second pair of eyes")
        tab.get_by_role("button", name="Send").click()
        expect(tab.locator("#part-flow .d").first).to_contain_text("in a turn", timeout=60000)
        card = tab.locator("article.spawn")
        expect(card).to_contain_text("it reads", timeout=60000)
        expect(tab.locator("#events-list .tool")).to_contain_text("request_spawn")
        card.get_by_role("button", name=re.compile("Approve")).click()
        expect(tab.locator("article.done").first).to_contain_text("Applied", timeout=60000)
        expect(tab.locator("#agent-scout .st")).to_have_text(re.compile("idle"), timeout=60000)
        expect(tab.locator("#part-inbox")).to_contain_text("scout is here", timeout=60000)

        # The daemon has taken the messages into the search meanwhile.
        tab.goto(f"http://127.0.0.1:{here.port}/search?q=from:operator+pair")
        expect(tab.locator(".hits mark")).to_have_text("pair")

        tab.goto(f"http://127.0.0.1:{here.env['HIVE_MANAGER_PORT']}/")
        expect(tab).to_have_url(f"http://127.0.0.1:{here.env['HIVE_MANAGER_PORT']}/agents/hm1nd/")
        expect(tab.locator("#link")).to_have_text("live")
        expect(tab.locator(".turnhead").first).to_contain_text("turn 1")
        expect(tab.locator(".turnhead").first).to_contain_text("ok")
        tab.get_by_text("what its container wrote last").click()
        expect(tab.locator("pre.log-tail")).to_be_visible()
        assert tab.complaints == []
