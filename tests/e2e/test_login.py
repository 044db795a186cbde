"""Logging an agent in from its page, over a whole hive: the daemon, a container, a scripted `claude auth login`."""

import re

import pytest

from tests.hives import PROJECT, Hive, until

from .conftest import open_browser, sync_api, watched

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.bwrap, pytest.mark.timeout(240)]


@pytest.fixture
def hive(tmp_path):
    claude = tmp_path / "claude"
    claude.write_text((PROJECT / "tests/scripted_login.sh").read_text().replace("@VERSION@", "2.1.330"))
    claude.chmod(0o755)
    one = Hive(HIVE_CLAUDE=str(claude)).start()
    yield one
    one.close()


def test_an_agent_is_logged_in_and_what_waited_for_it_goes_on(hive):
    until(lambda: hive.agent("hm1nd")["state"] == "login", f"hm1nd needs a login\n{hive.log()[-2000:]}")
    message = hive.ask("send", to="hm1nd", body="work")["id"]
    assert hive.ask("why", name="hm1nd")["fix"] == "hive login hm1nd"
    with open_browser() as browser:
        tab = watched(browser)
        tab.goto(hive.json("link")["url"])
        tab.wait_for_url(f"http://127.0.0.1:{hive.port}/")
        tab.goto(f"http://127.0.0.1:{hive.port}/agents/hm1nd/")
        expect(tab.locator("#part-hero .st")).to_contain_text("needs login")
        tab.locator("#part-hero").get_by_role("link", name="log in").click()
        tab.get_by_role("button", name="log in").click()
        expect(tab.locator("#login-link")).to_have_attribute(
            "href", re.compile("^https://claude.ai/oauth/authorize"), timeout=20000
        )
        code = tab.get_by_label("Paste the code that the page shows")
        code.fill("half-a-code")
        tab.get_by_role("button", name="finish").click()
        expect(tab.get_by_text("That doesn't look like the full code.")).to_be_visible(timeout=20000)
        code.fill("good#code")
        tab.get_by_role("button", name="finish").click()
        expect(tab.locator("#part-login")).to_contain_text("logged in, claude.ai · max · me@example.org", timeout=20000)
        tab.get_by_role("navigation", name="hm1nd").get_by_role("link", name="Live").click()
        expect(tab.locator("#events-list")).to_contain_text("I am logged in.", timeout=30000)
        expect(tab.locator("#part-hero .st")).to_contain_text("idle", timeout=30000)
        assert tab.complaints == []
    delivered = hive.json("messages")["messages"]
    assert [row["state"] for row in delivered if row["id"] == message] == ["delivered"]
    kept = [file for file in hive.root.rglob("*") if file.is_file() and b"good#code" in file.read_bytes()]
    assert kept == [], "the code is written nowhere"

    link = hive.cli("login", "hm1nd")
    assert re.fullmatch(r"https://claude.ai/oauth/authorize\S+\n", link.stdout), link.stderr
    refused = hive.cli("login", "hm1nd", "--code", "evil#code-of-somebody")
    assert (refused.returncode, "Request failed with status code 400 for …" in refused.stderr) == (1, True), (
        refused.stderr
    )
    # The one that is begun now goes on beside a restart of the daemon.
    assert hive.cli("login", "hm1nd").returncode == 0
    hive.stop()
    hive.start()
    taken = hive.cli("login", "hm1nd", "--code", "good#code")
    assert (taken.returncode, taken.stdout) == (0, "hm1nd: logged in, claude.ai · max · me@example.org\n"), taken.stderr
    assert hive.cli("logout", "hm1nd").returncode == 0
    until(lambda: hive.json("status", "hm1nd")["state"] == "login", "hm1nd needs a login again", 30)
