"""A server of the pages' own and Debian's Chromium; a console error or a CSP violation fails the test."""

import shutil
from contextlib import contextmanager

import pytest

from .pages import Pages as Pages

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def pages(tmp_path):
    running = Pages(tmp_path)
    try:
        running("mailbox", name="operator")
        running("agent", name="hm1nd", role="manager", port=8000)
        running("agent", name="scout", port=8131)
        yield running
    finally:
        running.kill()


@contextmanager
def open_browser():
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def watched(browser, width=1280):
    """A tab that notes what the console complains of; a test that means to cause complaints clears them."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.complaints = []
    page.on("console", lambda said: said.type in ("error", "warning") and page.complaints.append(said.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.set_default_timeout(8000)
    return page


@pytest.fixture(scope="module")
def chromium():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def tab(chromium, pages):
    """A signed-in page, at the dashboard."""
    page = watched(chromium)
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    live(page)
    yield page
    # What is still under way when the page closes may complain that it finds no page any more.
    complaints = list(page.complaints)
    page.context.close()
    assert complaints == []


def live(page) -> None:
    sync_api.expect(page.locator("#link")).to_have_text("live", timeout=15000)
