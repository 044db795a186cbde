"""Every page, dark and light, at desk and phone width: axe-core finds nothing, nothing scrolls sideways, keys reach all."""

import re
from pathlib import Path

import pytest

from .conftest import Pages, live, sync_api, watched

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

[AXE] = Path(__file__).parents[2].glob(".tools/axe-*/node_modules/axe-core/axe.min.js")
WIDTHS = (1280, 390, 320)
THEMES = ("dark", "light")
# Pages by path; a new page of a builder's is a line here.
PAGES = [
    "/", "/agents/scout/", "/?state=failing&q=zzz", "/search?q=read", "/search?q=before:soon", "/approvals",
    "/approvals/4", "/?sort=-inbox&mail=dead&to=operator", "/?kiosk=1", "/messages/1", "/audit",
    "/ask/scout/destroy", "/ask/many?verb=stop&agent=scout&agent=forge", "/ask/spawn", "/ask/panic",
    *(f"/agents/scout/{page}" for page in ("inbox", "notes", "config", "turns", "login", "vitals")),
]  # fmt: skip

FINDINGS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .map(v => `${v.id}: ${v.help}: ${v.nodes.map(n => n.target.join(" ")).slice(0, 4)}`)"""


@pytest.fixture(scope="module")
def hive(tmp_path_factory):
    pages = Pages(tmp_path_factory.mktemp("hive"))
    try:
        furnish(pages)
        yield pages
    finally:
        pages.kill()


def furnish(pages):
    """Something of everything that a page can show."""
    pages("mailbox", name="operator")
    pages("mailbox", name="hive")
    pages("agent", name="hm1nd", role="manager", port=8000)
    for name, state in (("scout", "thinking"), ("forge", "failing"), ("scribe", "login"), ("sonar", "offline")):
        pages("agent", name=name, state=state)
    for number in range(3):
        pages("ask", name=f"new{number}", why="a second reader for the audio papers")
    pages("deny", id=1)
    pages("send", sender="operator", to="scout", body="read the papers\n" * 4)
    pages("send", sender="scout", to="operator", body="I have read them: " + "long " * 200)
    pages("dead", message=pages("send", sender="hm1nd", to="forge", body="are you there?"))
    pages("job", name="vacuum", period=3600, started_at="2026-11-22T20:00:00Z", ended_at=None)
    pages(
        "job", name="backup", period=86400, started_at="2026-11-22T03:00:00Z", ended_at="2026-11-22T03:00:01Z", ok=False
    )
    pages("index")
    turn = {"id": "turn-0001", "number": 1, "started_at": "2026-11-22T20:14:00Z", "outcome": "ok", "cost_usd": 0.01}
    pages("turn", agent="scout", **turn)
    blocks = [
        {"type": "text", "text": "I look around."},
        {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls " + "x" * 300}},
    ]
    pages("event", agent="scout", kind="assistant", payload={"message": {"content": blocks}}, turn="turn-0001")
    pages("event", agent="scout", kind="log", payload={"text": "a line of the harness"})
    pages("note", name="scout", path="reading/fair.md", text="# Fair\n\nlong polls " + "x" * 300)
    pages("link", name="scout", path="elsewhere", target="/etc/passwd")
    for text in ('model = "sonnet"\n', 'model = "opus"\nprompt = "' + "read " * 60 + '"\n'):
        pages("applied", name="scout", text=text)
    pages("deny", id=pages("change", name="scout", content='model = "haiku"\nprompt = "' + "read " * 59 + '"\n'))
    pages("samples", name="scout")
    pages("login", name="scout", state="", takes=0, logged_in=True, account="claude.ai · max · me@example.org")
    pages("begin_login", name="scout")
    pages("login", name="scout", state="waiting", link="https://claude.ai/oauth/authorize?" + "z" * 400)


@pytest.fixture(scope="module")
def context(chromium, hive):
    """Signed in, with the page's own policy out of axe's way; policy and console are watched in the other tests."""
    context = chromium.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(f"{hive.url}/login#{hive('mint')}")
    page.wait_for_url(f"{hive.url}/")
    page.close()
    yield context
    context.close()


def dress(context, hive, theme: str) -> None:
    context.add_cookies([{"name": "hive_theme", "value": theme, "url": hive.url}])


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(context, hive, path, theme):
    dress(context, hive, theme)
    page = context.new_page()
    page.goto(hive.url + path)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(AXE.read_text())
        assert page.evaluate(FINDINGS) == [], f"{path} at {width} px, {theme}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} scrolls sideways at {width} px"
    page.close()


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_before_sign_in_nor_in_the_open_dialogs(chromium, hive, context, theme):
    stranger = chromium.new_context(bypass_csp=True)
    for which, path in ((stranger, "/login"), (context, "/")):
        dress(which, hive, theme)
        page = which.new_page()
        page.goto(hive.url + path)
        page.locator(".prefs summary").click()
        if which is context:
            page.locator("details.deny").first.evaluate("it => it.open = true")
        page.evaluate(AXE.read_text())
        assert page.evaluate(FINDINGS) == []
        page.locator(".prefs summary").click()
        if which is context:
            dialog = page.locator("dialog[open]")
            for opened in ('#agent-scout button[formaction$="/kill"]', "a[href='/ask/spawn']", "a[href='/ask/panic']"):
                page.locator(opened).click()
                expect(dialog).to_be_visible()
                assert page.evaluate(FINDINGS) == [], opened
                page.keyboard.press("Escape")
            page.keyboard.press("Control+k")
            page.keyboard.type("read")
            expect(dialog.locator(".hits")).not_to_have_count(0)
            assert page.evaluate(FINDINGS) == []
            page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        assert page.evaluate(FINDINGS) == []
        page.close()
    stranger.close()


def test_axe_finds_nothing_in_a_new_hive_nor_in_one_that_is_paused(chromium, pages):
    page = chromium.new_context(bypass_csp=True).new_page()
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    expect(page.locator("#first-run .ok-step")).to_have_count(3)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(AXE.read_text())
        assert page.evaluate(FINDINGS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    live(page)
    page.get_by_role("link", name="Panic: stop every turn").click()
    page.get_by_role("dialog").get_by_role("button", name="Panic").click()
    expect(page.locator("#part-panic")).to_contain_text("all is paused")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert page.evaluate(FINDINGS) == []
    page.context.close()


def test_the_axe_run_can_fail(context, hive):
    page = context.new_page()
    page.goto(hive.url)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=/static/dashboard/icon.svg>')")
    page.evaluate(AXE.read_text())
    assert any("image-alt" in finding for finding in page.evaluate(FINDINGS))
    page.close()


# ---- by keyboard, under the real policy -------------------------------------------------------------------------------


@pytest.fixture
def tab(chromium, hive):
    page = watched(chromium)
    page.goto(f"{hive.url}/login#{hive('mint')}")
    page.wait_for_url(f"{hive.url}/")
    live(page)
    yield page
    complaints = list(page.complaints)
    page.context.close()
    assert complaints == []


def test_every_control_is_reached_by_tab_and_shows_the_focus(tab):
    wanted = tab.evaluate("""() => [
        ...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")
    ].filter(it => it.checkVisibility() && !it.disabled).length""")
    reached = set()
    for _ in range(wanted + 30):
        tab.keyboard.press("Tab")
        at = tab.evaluate("""() => {
            const it = document.activeElement;
            if (it === document.body) return null;
            it.dataset.at ||= Math.random();
            return [it.dataset.at, getComputedStyle(it).outlineStyle !== "none", it.outerHTML.slice(0, 120)];
        }""")
        if at is None:
            continue
        assert at[1], f"no visible focus: {at[2]}"
        reached.add(at[0])
    assert len(reached) >= wanted


def test_keys_lead_through_the_page(tab):
    tab.keyboard.press("?")
    dialog = tab.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("deny the marked request")
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    tab.keyboard.press("j")
    expect(tab.locator(".marked")).to_have_attribute("id", re.compile("approval-"))
    tab.keyboard.press("d")
    reason = tab.get_by_label("reason").first
    expect(reason).to_be_focused()
    tab.keyboard.type("no, ask again, please")
    expect(reason).to_have_value("no, ask again, please")
    tab.keyboard.press("Escape")
    expect(reason).to_be_hidden()
    tab.keyboard.press("a")
    assert "Approve" in tab.evaluate("document.activeElement.textContent")
    for _ in range(4):
        tab.keyboard.press("j")
    expect(tab.locator(".marked")).to_have_attribute("id", re.compile("agent-"))
    tab.keyboard.press("x")
    expect(tab.locator("#marked")).to_have_text("1 marked")
    tab.keyboard.press("/")
    expect(tab.locator("#find")).to_be_focused()
    tab.keyboard.press("Escape")
    tab.keyboard.press("]")
    tab.wait_for_url("**/agents/**")
    live(tab)
    tab.keyboard.press("g")
    tab.keyboard.press("h")
    tab.wait_for_url(re.compile(r":\d+/$"))
    live(tab)


def test_what_is_chosen_stays_and_needs_no_script(chromium, hive):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{hive.url}/login")
    page.locator(".prefs summary").click()
    page.get_by_label("light").check()
    page.get_by_label("plain words").check()
    page.get_by_label("off").check()
    page.get_by_role("button", name="keep").click()
    page.wait_for_url("**/login")
    root = page.locator("html")
    for name, word in (("theme", "light"), ("labels", "plain"), ("keys", "off")):
        expect(root).to_have_attribute(f"data-{name}", word)
    expect(page.locator("h1", has_text="Sign in").locator(".sr")).to_be_in_viewport()
    expect(page.locator("h1 .paint")).to_be_hidden()
    context.close()


def test_single_keys_can_be_switched_off(chromium, tab):
    tab.context.add_cookies([{"name": "hive_keys", "value": "off", "url": tab.url}])
    tab.reload()
    live(tab)
    tab.keyboard.press("?")
    tab.keyboard.press("j")
    expect(tab.locator("dialog")).to_have_count(0)
    expect(tab.locator(".marked")).to_have_count(0)


def test_the_system_may_choose(chromium, hive):
    shown = set()
    for scheme in ("dark", "light"):
        context = chromium.new_context(color_scheme=scheme)
        context.add_cookies([{"name": "hive_theme", "value": "system", "url": hive.url}])
        page = context.new_page()
        page.goto(f"{hive.url}/login")
        shown.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    assert shown == {"rgb(7, 9, 15)", "rgb(243, 245, 249)"}
