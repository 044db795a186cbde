"""What a browser tells while nobody looks at the page: title, icon, and what was asked for by a button."""

import pytest

from tests.hives import until

from .conftest import live, sync_api, watched

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# A tab's visibility as the test wants it, and every notification and tone kept to be looked at.
STAND_IN = """
window.hiddenNow = false;
Object.defineProperty(document, "visibilityState", { get: () => (window.hiddenNow ? "hidden" : "visible") });
window.shown = []; window.tones = 0; window.asked = 0;
window.Notification = class { constructor(title, how) { window.shown.push([title, how.body]); } };
Notification.permission = "default";
Notification.requestPermission = async () => { window.asked += 1; return (Notification.permission = "granted"); };
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...at) { window.tones += 1; return start.apply(this, at); };
"""


@pytest.fixture
def away(chromium, pages):
    """A signed-in page with the stand-in."""
    page = watched(chromium)
    page.add_init_script(STAND_IN)
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    live(page)
    yield page
    complaints = list(page.complaints)
    page.context.close()
    assert complaints == []


def leave(page) -> None:
    """As if the tab had been put away some time ago."""
    page.evaluate("window.hiddenNow = true; localStorage.setItem('looking', 0)")


def icon(page) -> str:
    return page.locator("link[rel=icon]").get_attribute("href").rpartition("/")[2]


def shows(page, name: str) -> None:
    expect(page.locator(f"link[rel=icon][href$='/{name}']")).to_have_count(1, timeout=20000)


def told(page) -> list:
    """What was shown, once something was; the policy forbids Playwright's own way to wait for it."""
    return until(lambda: page.evaluate("shown"), "a notification", 20)


def test_title_and_icon_say_what_waits_on_every_page(away, pages):
    for path in ("/", "/agents/scout/"):
        away.goto(pages.url + path)
        live(away)
        assert icon(away) == "icon.svg"
    approval = pages("ask", name="sonar", why="a second reader")
    shows(away, "icon-waits.svg")
    expect(away).to_have_title("(1) scout · hyperhive")
    pages("state", name="scout", state="failing", why="it crashed")
    shows(away, "icon-failing.svg")
    pages("state", name="scout", state="idle")
    pages("deny", id=approval)
    shows(away, "icon.svg")
    expect(away).to_have_title("scout · hyperhive")


def test_nothing_is_asked_for_or_told_unless_a_button_was_pressed(away, pages):
    leave(away)
    pages("ask", name="sonar", why="a second reader")
    shows(away, "icon-waits.svg")
    assert away.evaluate("[asked, shown.length, tones]") == [0, 0, 0]


def test_a_notification_and_a_sound_come_once_and_only_while_nobody_looks(away, pages):
    away.locator(".prefs summary").click()
    away.locator("[data-tell=notification]").click()
    away.locator("[data-tell=sound]").click()
    expect(away.locator("[data-tell=notification]")).to_have_attribute("aria-pressed", "true")
    assert away.evaluate("[asked, shown.length, tones]") == [1, 0, 2]
    pages("ask", name="seen", why="while somebody looks")
    shows(away, "icon-waits.svg")
    leave(away)
    pages("ask", name="sonar", why="look \u202egnp.exe")
    [[title, body]] = told(away)
    assert title == "hyperhive waits for you"
    assert body == "#2 Spawn sonar, asked by hm1nd: look \\u202egnp.exe"
    assert away.evaluate("tones") == 4
    # The same things on another load of the page are no news.
    away.reload()
    live(away)
    away.evaluate("Notification.permission = 'granted'")
    leave(away)
    pages("send", sender="scout", to="operator", body="hello")
    assert told(away) == [["hyperhive waits for you", "scout wrote to you: hello"]]


def test_a_mute_is_for_every_browser(away, pages):
    away.locator(".prefs summary").click()
    away.locator("[data-tell=sound]").click()
    away.locator(".prefs button", has_text="mute 8 h").click()
    live(away)
    expect(away.locator("#outside")).to_contain_text("muted until")
    leave(away)
    pages("ask", name="sonar", why="a second reader")
    shows(away, "icon-waits.svg")
    assert away.evaluate("tones") == 0
    away.evaluate("window.hiddenNow = false")
    away.locator(".prefs summary").click()
    away.locator(".prefs button", has_text="go on").click()
    live(away)
    expect(away.locator("#outside")).to_be_hidden()
