"""The dashboard in a real browser: what is asked before it is done, many at once, filters, search, panic, first run, jobs."""

import re

import pytest

from tests.hives import until

from .conftest import live, sync_api, watched

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def forged(pages, *names):
    for name in names:
        pages("agent", name=name)


def reloaded(tab):
    tab.reload()
    live(tab)


# ---- asked first ------------------------------------------------------------------------------------------------------


def test_destroying_takes_the_name_and_a_refusal_is_said_in_the_dialog(pages, tab):
    tab.get_by_role("button", name="stop scout").click()
    tab.get_by_role("dialog").get_by_role("button", name="stop").click()
    tab.get_by_role("button", name="destroy scout").click()
    dialog = tab.get_by_role("dialog", name="destroy scout?")
    expect(dialog).to_contain_text("This stays, unless it is purged")
    expect(dialog).to_contain_text("$ hive destroy scout")
    expect(dialog.get_by_label("type scout to go on")).to_be_focused()
    dialog.get_by_role("button", name="destroy").click()
    expect(dialog).to_be_visible()
    assert pages("op", name="scout") == "stop"
    # Somebody else was first.
    dialog.get_by_label("type scout to go on").fill("scout")
    pages("destroy", name="scout")
    dialog.get_by_role("button", name="destroy").click()
    expect(dialog.get_by_role("alert")).to_contain_text("is being destroyed")
    dialog.get_by_role("link", name="cancel").click()
    expect(dialog).to_be_hidden()
    tab.complaints.clear()  # the 409 that was meant


def test_escape_leaves_everything_as_it_is_and_gives_the_focus_back(pages, tab):
    button = tab.get_by_role("button", name="kill scout")
    button.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("dialog", name="kill scout?")).to_be_visible()
    # A change of its row meanwhile takes nothing away.
    pages("send", sender="hm1nd", to="scout", body="one more")
    expect(tab.locator("#agent-scout td[data-l=inbox]")).to_have_text("1")
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog")).to_be_hidden()
    assert pages("op", name="scout") == ""


def test_spawning_says_what_is_wrong_with_the_configuration(pages, tab):
    tab.get_by_role("link", name="Spawn an agent").click()
    dialog = tab.get_by_role("dialog", name="spawn an agent")
    dialog.get_by_label(re.compile("^name")).fill("sonar")
    dialog.get_by_label(re.compile("^configuration")).fill("modle = 1")
    dialog.get_by_role("button", name="Spawn").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Did you mean 'model'?")
    expect(dialog.get_by_label(re.compile("^name"))).to_have_value("sonar")
    tab.complaints.clear()  # the 400 that was meant


def test_panic_pauses_all_and_they_go_on_again(pages, tab):
    tab.get_by_role("link", name="Panic: stop every turn").click()
    dialog = tab.get_by_role("dialog", name="stop every turn?")
    expect(dialog).to_contain_text("every message")
    dialog.get_by_role("button", name="Panic").click()
    expect(tab.locator("#part-panic")).to_contain_text("all is paused")
    assert sorted(pages("paused")) == ["hm1nd", "scout"]
    tab.get_by_role("button", name="Let them go on").click()
    expect(tab.locator("#part-panic .banner")).to_have_count(0)
    assert pages("paused") == []


# ---- many at once, filters --------------------------------------------------------------------------------------------


def test_what_is_done_to_many_is_reported_for_each(pages, tab):
    forged(pages, "forge", "sonar")
    reloaded(tab)
    tab.get_by_label("mark forge").check()
    tab.get_by_label("mark sonar").check()
    expect(tab.locator("#marked")).to_have_text("2 marked")
    # What changes meanwhile keeps its mark.
    pages("state", name="sonar", state="thinking")
    expect(tab.locator("#agent-sonar .st")).to_contain_text("thinking")
    expect(tab.get_by_label("mark sonar")).to_be_checked()
    tab.get_by_label("with the marked").select_option("stop")
    tab.get_by_role("button", name="go…").click()
    dialog = tab.get_by_role("dialog", name="stop 2 agents?")
    expect(dialog).to_contain_text("$ hive stop forge")
    pages("destroy", name="sonar")
    dialog.get_by_role("button", name="stop").click()
    expect(tab.locator("#toast")).to_contain_text("forge: stop is on its way.")
    expect(tab.locator("#toast")).to_contain_text("sonar: refused. sonar is being destroyed")
    assert [pages("op", name=name) for name in ("forge", "sonar", "scout")] == ["stop", "destroy", ""]


def test_marking_all_marks_what_is_shown(pages, tab):
    forged(pages, "forge", "sonar")
    reloaded(tab)
    tab.get_by_label("only agents whose name has").fill("o")
    tab.get_by_label("mark all that are shown").check()
    expect(tab.locator("#marked")).to_have_text("3 marked")
    tab.get_by_label("only agents whose name has").fill("")
    expect(tab.locator("#marked")).to_have_text("3 marked")
    expect(tab.get_by_label("mark hm1nd")).not_to_be_checked()


def test_filters_are_in_the_address_and_hold_for_what_comes_live(pages, tab):
    forged(pages, "forge")
    reloaded(tab)
    shown = tab.locator("#part-containers tr:visible")
    chips = tab.locator("#chips")
    expect(shown).to_have_count(3)
    chips.get_by_role("link", name="thinking").click()
    expect(tab).to_have_url(f"{pages.url}/?state=thinking")
    expect(tab.locator("#sieve-none")).to_be_visible()
    pages("state", name="forge", state="thinking")
    expect(shown).to_have_count(1)
    expect(chips.get_by_role("link", name="thinking")).to_contain_text("1")
    reloaded(tab)
    expect(shown).to_have_count(1)
    expect(chips.locator("[aria-current]")).to_contain_text("thinking")
    tab.get_by_label("only agents whose name has").fill("scou")
    expect(shown).to_have_count(0)
    chips.get_by_role("link", name="all").click()
    expect(tab).to_have_url(f"{pages.url}/?q=scou")
    expect(shown).to_have_count(1)


def order(tab):
    return tab.eval_on_selector_all("#part-containers tr", "rows => rows.map(row => row.id.slice(6))")


def test_the_order_is_in_the_address_and_holds_for_what_comes_live(pages, tab):
    forged(pages, "forge", "sonar")
    reloaded(tab)
    head = tab.get_by_role("columnheader", name="inbox")
    tab.get_by_role("link", name="inbox", exact=True).click()
    expect(tab).to_have_url(f"{pages.url}/?sort=-inbox")
    expect(head).to_have_attribute("aria-sort", "descending")
    pages("send", sender="hm1nd", to="scout", body="one")
    expect(tab.locator("#part-containers tr").first).to_have_id("agent-scout")
    # Under the pointer nothing moves; when it leaves, what was held back comes.
    tab.get_by_role("button", name="kill scout").hover()
    for _ in range(2):
        pages("send", sender="hm1nd", to="sonar", body="one")
    expect(tab.locator("#agent-sonar td[data-l=inbox]")).to_have_text("2")
    assert order(tab) == ["scout", "hm1nd", "forge", "sonar"]
    tab.mouse.move(5, 5)
    expect(tab.locator("#part-containers tr").first).to_have_id("agent-sonar")
    # Nor what has the focus.
    tab.get_by_role("button", name="pause sonar").focus()
    for _ in range(3):
        pages("send", sender="hm1nd", to="forge", body="one")
    expect(tab.locator("#agent-forge td[data-l=inbox]")).to_have_text("3")
    expect(tab.get_by_role("button", name="pause sonar")).to_be_focused()
    assert order(tab)[0] == "sonar"
    tab.get_by_role("link", name="inbox", exact=True).focus()
    expect(tab.locator("#part-containers tr").first).to_have_id("agent-forge")
    reloaded(tab)
    assert order(tab) == ["forge", "sonar", "scout", "hm1nd"]
    for sort, first in (("inbox", "hm1nd"), ("", "hm1nd")):
        tab.get_by_role("link", name="inbox", exact=True).click()
        expect(tab).to_have_url(f"{pages.url}/?sort={sort}" if sort else f"{pages.url}/")
        assert order(tab)[0] == first
    expect(head).to_have_attribute("aria-sort", "none")
    assert order(tab) == ["hm1nd", "forge", "scout", "sonar"]


def test_a_container_shows_its_commit_and_what_is_newer_live(pages, tab):
    pages("applied", name="scout", text='model = "sonnet"\n')
    pages("wake", topic="containers")
    cell = tab.locator("#agent-scout td[data-l=config]")
    expect(cell).to_have_text(re.compile("^[0-9a-f]{7}, what scout runs$"))
    number = pages("change", name="scout", content='model = "opus"\n')
    expect(cell).to_contain_text(f"↑ #{number} waits")
    pages("carried_out", id=number, state="applying")
    expect(cell).to_contain_text(f"↑ #{number} on its way")
    cell.get_by_role("link", name=re.compile("what scout runs")).click()
    expect(tab.get_by_role("heading", name="What it changed")).to_be_visible()


# ---- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_opens_as_markdown(pages, tab):
    pages("send", sender="scout", to="hm1nd", body="# Findings\n\n- **one**\n- <b>two</b>")
    tab.locator("#part-flow summary").first.click()
    body = tab.locator("#part-flow .md")
    expect(body.locator("h1")).to_have_text("Findings")
    expect(body.locator("li").nth(1)).to_have_text("<b>two</b>")


def test_messages_are_filtered_in_the_address_and_live(pages, tab):
    shown = tab.locator("#part-flow li:visible")
    pages("send", sender="scout", to="hm1nd", body="first")
    pages("dead", message=pages("send", sender="hm1nd", to="scout", body="second"))
    expect(shown).to_have_count(2)
    chips = tab.locator("#mail-chips")
    chips.get_by_role("link", name="waits").click()
    expect(tab).to_have_url(f"{pages.url}/?mail=queued")
    expect(shown).to_have_count(1)
    pages("send", sender="operator", to="scout", body="third")
    expect(shown).to_have_count(2)
    expect(chips.get_by_role("link", name="waits")).to_contain_text("2")
    tab.get_by_label("sender").select_option("operator")
    expect(tab).to_have_url(f"{pages.url}/?mail=queued&from=operator")
    expect(shown).to_have_count(1)
    pages("send", sender="hm1nd", to="scout", body="fourth")
    pages("send", sender="operator", to="scout", body="fifth")
    expect(shown).to_have_count(2)
    expect(shown.first).to_contain_text("fifth")
    # Beside the filter of the containers, over a reload, and with somebody who was not there before.
    tab.locator("#chips").get_by_role("link", name="idle").click()
    expect(tab).to_have_url(f"{pages.url}/?mail=queued&from=operator&state=idle")
    reloaded(tab)
    expect(shown).to_have_count(2)
    pages("agent", name="newcomer")
    pages("send", sender="newcomer", to="hm1nd", body="here I am")
    tab.get_by_label("sender").select_option("newcomer")
    expect(shown).to_contain_text("here I am")
    chips.get_by_role("link", name="dead").click()
    expect(tab.locator("#mail-none")).to_be_visible()
    expect(tab.get_by_role("link", name="look through all there are")).to_have_attribute(
        "href", re.compile(r"/search\?q=from%3Anewcomer$")
    )
    tab.get_by_role("link", name="clear the filter").click()
    expect(tab).to_have_url(f"{pages.url}/?state=idle")
    expect(shown).to_have_count(6)


def test_a_message_to_everyone(pages, tab):
    tab.get_by_label("to", exact=True).select_option("everyone (2)")
    tab.get_by_label("message", exact=True).fill("stand by")
    tab.get_by_role("button", name="Send").click()
    expect(tab.locator("#toast")).to_contain_text("waits for hm1nd.")
    expect(tab.locator("#toast")).to_contain_text("waits for scout.")
    assert sorted(row["recipient"] for row in pages("messages")) == ["hm1nd", "scout"]


# ---- search -----------------------------------------------------------------------------------------------------------


def test_search_from_any_page(pages, tab):
    pages("send", sender="scout", to="hm1nd", body="the symlink bug is in walk.py")
    pages("index")
    tab.keyboard.press("/")
    tab.keyboard.type("symlink -release")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search?q=symlink+-release")
    hit = tab.get_by_role("link", name=re.compile("#1 scout → hm1nd"))
    expect(hit.locator("mark")).to_have_text("symlink")
    hit.click()
    expect(tab.get_by_role("heading", name="scout → hm1nd")).to_be_visible()


def test_ctrl_k_goes_to_places_and_acts(pages, tab):
    tab.keyboard.press("Control+k")
    field = tab.get_by_label("page, act, agent or words")
    expect(field).to_be_focused()
    tab.keyboard.type("stop sc")
    first = tab.locator("dialog[open] .hits a").first
    expect(first).to_have_text("stop scout")
    tab.keyboard.press("ArrowDown")
    expect(first).to_be_focused()
    tab.keyboard.press("ArrowUp")
    expect(field).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("dialog", name="stop scout?")).to_be_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("Control+k")
    field.fill("hm1nd")
    expect(first).to_have_text("hm1nd")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/agents/hm1nd/")


# ---- live -------------------------------------------------------------------------------------------------------------


def test_a_card_that_has_the_pointer_does_not_move(pages, tab):
    first, second = pages("ask", name="lint", why="somebody has to"), pages("ask", name="sonar", why="a second reader")
    card = tab.locator(f"#approval-{second}")
    card.hover()
    before = card.bounding_box()
    pages("deny", id=first)
    third = pages("ask", name="docs", why="to write")
    expect(tab.locator(f"#approval-{third}")).to_be_visible()
    assert card.bounding_box() == before
    expect(tab.locator(f"#approval-{first}")).to_contain_text("somebody has to")
    tab.mouse.move(5, 5)
    expect(tab.locator(f"#approval-{first}")).to_contain_text("Denied")
    ids = tab.eval_on_selector_all("#part-approvals > article", "cards => cards.map(card => card.id)")
    assert ids == [f"approval-{second}", f"approval-{third}", f"approval-{first}"]


def test_the_focus_stays_on_its_button_when_the_row_changes(pages, tab):
    tab.get_by_role("button", name="restart scout").focus()
    pages("state", name="scout", state="thinking")
    expect(tab.locator("#agent-scout .st")).to_contain_text("thinking")
    expect(tab.get_by_role("button", name="restart scout")).to_be_focused()


def test_a_tab_that_slept_has_every_row_once(pages, tab):
    """Its socket goes, as in a machine that sleeps; what came meanwhile comes when it wakes."""
    pages("event", agent="scout", kind="log", payload={"text": "before"})
    expect(tab.locator("#events-list")).to_contain_text("before")
    tab.evaluate("hangUp()")
    for number in range(30):
        pages("event", agent="scout", kind="log", payload={"text": f"asleep {number}"})
    tab.evaluate("dispatchEvent(new Event('online'))")
    expect(tab.locator("#events-list")).to_contain_text("asleep 29")
    ids = tab.eval_on_selector_all("#events-list > .ev", "rows => rows.map(row => Number(row.id.slice(6)))")
    assert ids == list(range(1, 32))


def test_jobs_and_vitals_are_live(pages, tab):
    expect(tab.locator("#part-jobs")).to_contain_text("no job has run yet")
    now = "2026-11-22T20:00:00Z"
    pages("job", name="vacuum", period=3600, started_at=now, ended_at=now, ok=True, result="31 messages removed")
    pages("wake", topic="jobs")
    expect(tab.locator("#part-jobs")).to_contain_text("31 messages removed")
    pages("send", sender="hm1nd", to="scout", body="hello")
    expect(tab.locator("#v-waiting")).to_contain_text("oldest")
    expect(tab.locator("#v-spark svg")).to_have_attribute("aria-label", re.compile("lately 0"))


def test_the_events_of_all_can_be_paused(pages, tab):
    def event(text):
        pages("event", agent="scout", kind="log", payload={"text": text})

    event("before")
    expect(tab.locator("#events-list")).to_contain_text("before")
    tab.keyboard.press("p")
    event("meanwhile")
    go_on = tab.get_by_role("button", name="go on, 1 new")
    expect(go_on).to_have_attribute("aria-pressed", "true")
    expect(tab.locator("#events-list")).not_to_contain_text("meanwhile")
    go_on.click()
    expect(tab.locator("#events-list")).to_contain_text("meanwhile")


def test_nothing_waits_and_what_was_decided_last(pages, tab):
    none = tab.locator("#approvals-none")
    expect(none).to_contain_text("what the swarm wants to change is asked here")
    number = pages("ask", name="sonar", why="a second reader")
    expect(none).to_have_count(0)
    pages("deny", id=number)
    expect(none).to_contain_text(re.compile(rf"the last decision was #{number}, \d s ago"))
    none.get_by_role("link").click()
    expect(tab.get_by_role("heading", name=f"Request #{number}")).to_be_visible()
    expect(tab.locator("main")).to_contain_text("Denied by operator")


def test_a_screen_on_the_wall_has_nothing_to_press(pages, tab):
    pages("ask", name="sonar", why="a second reader")
    pages("dead", message=pages("send", sender="hm1nd", to="scout", body="are you there?"))
    pages("send", sender="scout", to="operator", body="three papers")
    for path in ("/?kiosk=1&sort=-inbox", "/agents/scout/?kiosk=1"):
        tab.goto(pages.url + path)
        live(tab)
        expect(tab.get_by_text("three papers").first).to_be_visible()
        pressed = tab.eval_on_selector_all(
            "button, [type=submit], a[data-ask], textarea, input[type=checkbox]",
            "all => all.filter(it => it.checkVisibility() && !it.matches('.log-pause, .chips *, .seek *'))"
            ".map(it => it.outerHTML)",
        )
        assert pressed == [], path
    tab.goto(f"{pages.url}/?kiosk=1")
    tab.locator("#chips").get_by_role("link", name="idle").click()
    expect(tab).to_have_url(f"{pages.url}/?kiosk=1&state=idle")


# ---- a new hive, and no script ----------------------------------------------------------------------------------------


def test_the_first_run_says_what_comes_next_and_goes_away(pages, tab):
    pages("state", name="hm1nd", state="login")
    panel = tab.locator("#first-run")
    expect(panel).to_contain_text("hive login hm1nd")
    expect(panel.locator(".ok-step")).to_have_count(2)
    pages("state", name="hm1nd", state="idle")
    expect(panel).to_contain_text("hm1nd is logged in to Claude")
    tab.get_by_label("message", exact=True).fill("hello")
    tab.get_by_role("button", name="Send").click()
    expect(panel).to_be_hidden()


def test_without_scripts_everything_can_be_done(chromium, pages):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{pages.url}/login")
    page.get_by_label("or paste the token").fill(pages("mint"))
    page.get_by_role("button", name="Enter").click()
    page.get_by_label("mark scout").check()
    page.get_by_label("with the marked").select_option("pause")
    page.get_by_role("button", name="go…").click()
    expect(page.get_by_role("heading", name="pause 1 agent?")).to_be_visible()
    page.get_by_role("button", name="pause").click()
    expect(page.locator(".note")).to_contain_text("pause scout: on its way.")
    page.get_by_role("link", name="agent", exact=True).click()
    page.get_by_role("link", name="agent", exact=True).click()
    expect(page.get_by_role("columnheader", name="agent")).to_have_attribute("aria-sort", "descending")
    assert order(page) == ["scout", "hm1nd"]
    pages("send", sender="hm1nd", to="scout", body="one")
    page.get_by_label("sender").select_option("hm1nd")
    page.locator("#mail-sieve").get_by_role("button", name="filter").click()
    expect(page.locator("#part-flow li:visible")).to_have_count(1)
    page.get_by_role("link", name="in a turn").click()
    expect(page.locator("#mail-none")).to_be_visible()
    page.get_by_role("link", name="paused").click()
    expect(page).to_have_url(re.compile(r"\?sort=-agent&mail=claimed&from=hm1nd&state=paused#containers$"))
    expect(page.locator("#part-containers tr:visible")).to_have_count(1)
    page.get_by_role("button", name="resume scout").click()
    page.get_by_role("link", name="cancel").click()
    page.get_by_role("link", name="Panic").click()
    page.get_by_role("button", name="Panic").click()
    expect(page.locator(".note")).to_contain_text("1 agents are paused")
    page.get_by_role("button", name="Let them go on").click()
    assert pages("paused") == ["scout"]
    page.get_by_label("find agents, messages, approvals, events").fill("scout")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile("^scout")).click()
    page.wait_for_url("**/agents/scout/")
    context.close()


def test_on_a_phone_the_dialogs_and_the_search_fit(chromium, pages):
    page = watched(chromium, width=390)
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    live(page)
    page.get_by_role("button", name="kill scout").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    page.get_by_role("link", name="find", exact=True).click()
    page.wait_for_url("**/search")
    until(lambda: page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing scrolls sideways", 5)
    assert page.complaints == []
    page.context.close()
