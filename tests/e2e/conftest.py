"""A server of the pages' own and Debian's Chromium; a console error or a CSP violation fails the test."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ROOT = Path(__file__).parents[2]


class Pages:
    """The server process; `pages("send", sender=…)` writes a row in it, so that its wake-ups are real."""

    def __init__(self, state: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.bind = f"127.0.0.1:{probe.getsockname()[1]}"
        self.state, self.url = state, f"http://{self.bind}"
        (state / "secret_key").write_text("the same after a restart")
        self.start()

    def start(self) -> None:
        env = os.environ | {"HIVE_STATE_DIR": str(self.state), "HIVE_BIND": self.bind, "PYTHONPATH": str(ROOT)}
        with (self.state / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.server"],
                cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._answer() == "ready"

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, (self.state / "log").read_text()
        return json.loads(line)

    def __call__(self, verb: str, **params):
        self.process.stdin.write(json.dumps([verb, params]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


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
