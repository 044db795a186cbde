"""An agent's pages in a real browser: its log and what can be done with it, its tabs, and logging it in."""

import json
import re
import time

import pytest

from tests.hives import until

from .conftest import live, sync_api
from .test_pages import text_event

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
LINK = "https://claude.com/cai/oauth/authorize?code=true&client_id=9d1c&state=" + "w" * 300


@pytest.fixture
def scout(pages, tab):
    """The agent's page, with one turn that ended and one that runs."""
    for number, outcome in ((1, "ok"), (2, "")):
        row = {"id": f"turn-000{number}", "number": number, "started_at": "2026-11-22T20:13:48Z", "outcome": outcome}
        ended = {"ended_at": "2026-11-22T20:14:39Z", "input_tokens": 18000, "output_tokens": 100, "cost_usd": 0.06}
        pages("turn", agent="scout", **row, **(ended if outcome else {}))
        happen(pages, f"turn-000{number}", number)
    tab.goto(f"{pages.url}/agents/scout/")
    live(tab)
    return tab


def happen(pages, turn, number):
    call = {"type": "tool_use", "name": "Bash", "input": {"command": f"pytest -q {number}"}}
    answer = {"type": "tool_result", "content": f"41 passed in run {number}"}
    for kind, payload in (
        ("turn", {"phase": "start", "number": number}),
        ("wake", {"messages": [number], "from": "hm1nd", "header": "one\nmessage"}),
        ("assistant", {"message": {"content": [{"type": "text", "text": f"I look into it, round {number}"}]}}),
        ("assistant", {"message": {"content": [call]}}),
        ("user", {"message": {"content": [answer]}}),
    ):
        pages("event", agent="scout", kind=kind, payload=payload, turn=turn)


def shown(page):
    return page.locator("#events-list > .ev:visible")


# ---- the log ----------------------------------------------------------------------------------------------------------


def test_a_turn_is_a_header_that_tells_how_it_ended_as_it_ends(pages, scout):
    heads = scout.locator(".turnhead")
    expect(heads).to_have_count(2)
    expect(heads.nth(0)).to_contain_text(re.compile(r"turn 1 · .* · 51 s · 18\.1k tokens · \$0\.060 · ok"))
    expect(heads.nth(1)).to_contain_text(re.compile("turn 2 · .* · running"))
    pages("turn", agent="scout", id="turn-0002", number=2, started_at="2026-11-22T20:13:48Z",
          ended_at="2026-11-22T20:13:58Z", outcome="timeout", cost_usd=0.5)  # fmt: skip
    expect(heads.nth(1)).to_contain_text(re.compile(r"10 s · 0 tokens · \$0\.500 · timeout"))
    happen(pages, "turn-0003", 3)
    expect(heads).to_have_count(3)
    text_event(pages, "scout", "between turns")
    expect(scout.locator("#events-list")).to_contain_text("between turns")
    expect(heads).to_have_count(3)


def test_turns_fold_and_what_comes_into_a_folded_one_is_folded_too(pages, scout):
    before = shown(scout).count()
    scout.get_by_role("button", name="Events of turn 2").click()
    expect(scout.get_by_role("button", name="Events of turn 2")).to_have_attribute("aria-expanded", "false")
    assert 0 < shown(scout).count() < before
    happen(pages, "turn-0002", 2)
    until(lambda: scout.locator("#events-list > .ev").count() == 15, "the rows have come", 15)
    expect(scout.locator(".turnhead")).to_have_count(2)
    assert shown(scout).count() == before // 2
    scout.get_by_role("button", name="Events of turn 2").click()
    assert shown(scout).count() == before + before // 2


def test_groups_are_left_out_and_stay_so(scout):
    expect(shown(scout).filter(has_text="pytest -q 1")).to_have_count(1)
    scout.get_by_role("button", name="tool", exact=True).click()
    expect(shown(scout).filter(has_text="pytest -q 1")).to_have_count(0)
    scout.reload()
    live(scout)
    expect(shown(scout).filter(has_text="pytest -q 1")).to_have_count(0)
    expect(scout.get_by_role("button", name="tool", exact=True)).to_have_attribute("aria-pressed", "false")
    scout.get_by_role("button", name="tool", exact=True).click()
    expect(shown(scout).filter(has_text="pytest -q 1")).to_have_count(1)


def test_finding_by_word_and_by_regex_and_seeing_a_hit_in_its_place(scout):
    find = scout.get_by_label("find in these events")
    find.fill("41 PASSED")
    expect(scout.locator("#found")).to_have_text("2 found")
    assert shown(scout).count() == 2
    find.fill("/run [2-9]/")
    expect(scout.locator("#found")).to_have_text("1 found")
    shown(scout).first.click()
    scout.get_by_role("button", name="in context").click()
    expect(scout.locator(".ev.here")).to_contain_text("41 passed in run 2")
    expect(find).to_have_value("")
    assert shown(scout).count() > 5
    find.fill("/run [/")
    expect(scout.locator("#found")).to_have_text("no regular expression")
    find.fill("round")
    scout.get_by_label("only what matches").uncheck()
    expect(scout.locator(".ev.hit")).to_have_count(2)
    assert shown(scout).count() > 5
    find.fill("timeout")
    expect(scout.locator("#found")).to_have_text("no event matches “timeout”")


def test_a_pause_holds_what_comes_and_loses_none_of_it(pages, scout):
    scout.keyboard.press("p")
    go_on = scout.locator(".log-pause")
    expect(go_on).to_have_attribute("aria-pressed", "true")
    for number in range(5):
        text_event(pages, "scout", f"held {number}")
    expect(go_on).to_contain_text("go on, 5 new")
    assert "held" not in scout.locator("#events-list").inner_text()
    scout.evaluate("hangUp(); connect()")  # the cursor has gone on: nothing comes twice
    live(scout)
    text_event(pages, "scout", "held 5")
    expect(go_on).to_contain_text("go on, 6 new")
    scout.keyboard.press("p")
    for number in range(6):
        expect(scout.get_by_text(f"held {number}", exact=True)).to_have_count(1)


def test_what_is_new_below_is_counted_on_the_pill(pages, scout):
    for number in range(40):
        text_event(pages, "scout", f"line {number}")
    expect(scout.locator("#events-list")).to_contain_text("line 39")
    scout.locator(".log").evaluate("log => log.scrollTop = 0")
    for number in range(3):
        text_event(pages, "scout", f"more {number}")
    expect(scout.locator("#jump")).to_have_text("▼ 3 new")
    scout.locator("#jump").click()
    expect(scout.locator("#jump")).to_be_hidden()


def test_raw_json_of_one_event_and_of_all(scout):
    row = shown(scout).filter(has_text="round 1")
    row.click()
    row.get_by_role("button", name="json").click()
    expect(row.locator(".raw")).to_contain_text('"text": "I look into it, round 1"')
    scout.get_by_role("button", name="raw json").click()
    until(lambda: scout.locator(".raw").count() == 10, "each row shows its JSON", 15)
    scout.get_by_role("button", name="raw json").click()
    expect(scout.locator(".raw")).to_have_count(0)


def test_an_event_is_copied(scout):
    scout.context.grant_permissions(["clipboard-read", "clipboard-write"])
    row = shown(scout).filter(has_text="round 1")
    row.click()
    row.get_by_role("button", name="copy").click()
    expect(row.get_by_role("button", name="copied")).to_be_visible()
    assert scout.evaluate("navigator.clipboard.readText()").endswith("I look into it, round 1")


def test_export_as_ndjson_as_text_and_a_turn_as_markdown(pages, scout):
    with scout.expect_download() as download:
        scout.get_by_role("link", name="export").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert [line["id"] for line in lines] == list(range(1, 11))
    assert lines[0]["schema"] == 1
    with scout.expect_download() as download:
        scout.get_by_role("link", name="as text").click()
    assert "Bash         pytest -q 1" in download.value.path().read_text()
    scout.get_by_role("link", name="Turns").click()
    with scout.expect_download() as download:
        scout.get_by_role("link", name="Markdown of turn 1").click()
    assert download.value.suggested_filename == "scout-turn-1.md"
    assert "## scout, turn 1" in download.value.path().read_text()


def test_gaps_are_rows_and_older_events_have_an_address(pages, scout):
    pages("event", agent="scout", kind="gap", payload={"skipped": 9})
    expect(scout.locator(".ev.gap")).to_contain_text("9 events were lost")
    for number in range(60):
        text_event(pages, "scout", f"line {number}")
    expect(scout.locator("#events-list")).to_contain_text("line 59")
    scout.reload()
    live(scout)
    scout.get_by_role("link", name="older events").click()
    expect(scout.locator("#events-list")).to_contain_text("round 1")
    expect(scout.get_by_text("Older events, as they were.")).to_be_visible()
    scout.goto(f"{pages.url}/agents/scout/?at=5#event-5")
    expect(scout.locator("#event-5")).to_be_in_viewport()
    scout.get_by_role("link", name="Back to what goes on now").click()
    live(scout)


def test_what_was_passed_over_is_said_and_has_an_address(pages, scout):
    scout.evaluate("hangUp()")
    for number in range(3):
        pages("events", agent="scout", texts=[f"line {number * 200 + n}" for n in range(200)])
    scout.evaluate("connect()")
    expect(scout.locator("#events-list")).to_contain_text("line 599", timeout=15000)
    gap = scout.locator("li.gap")
    expect(gap).to_contain_text(re.compile(r"… 100 events passed over … see them"))
    older = re.escape("?before=") + r"1\d\d$"
    expect(scout.get_by_role("link", name="older events")).to_have_attribute("href", re.compile(older))
    gap.get_by_role("link").click()
    expect(scout.locator("#events-list")).to_contain_text("line 99")
    expect(scout.locator("#events-list")).not_to_contain_text("line 100")


# ---- the tabs ---------------------------------------------------------------------------------------------------------


def test_the_tabs_say_live_how_much_there_is(pages, scout):
    tabs = scout.get_by_role("navigation", name="scout")
    inbox = tabs.locator("[data-count=inbox]")
    expect(inbox).to_be_hidden()
    pages("send", sender="hm1nd", to="scout", body="one more")
    expect(inbox).to_have_text("1")
    number = pages("change", name="scout", content='model = "opus"\n')
    expect(tabs.get_by_role("link", name="Config 1")).to_be_visible()
    expect(scout.locator("header [data-count=pending]")).to_have_text("1")
    pages("state", name="scout", state="login")
    expect(tabs.get_by_role("link", name="Login !")).to_be_visible()
    pages("read", to="scout")
    expect(inbox).to_be_hidden()
    pages("deny", id=number)
    expect(tabs.locator("[data-count=config]")).to_be_hidden()


def test_notes_are_read_and_nothing_else_is(pages, scout):
    pages("note", name="scout", path="reading/fair & square.md", text="<b>three papers</b>\x1b[31m")
    pages("link", name="scout", path="passwd", target="/etc/passwd")
    scout.get_by_role("link", name="Notes").click()
    row = scout.locator("tr", has_text="passwd")
    expect(row).to_contain_text("a link, not followed")
    expect(row.get_by_role("link")).to_have_count(0)
    scout.get_by_role("link", name="fair & square.md").click()
    expect(scout.locator(".note-text")).to_have_text("<b>three papers</b>\\x1b[31m")
    scout.goto(f"{pages.url}/agents/scout/notes?file=passwd")
    expect(scout.get_by_role("alert").first).to_contain_text("plain file")
    live(scout)


def test_the_configuration_its_history_and_the_way_back(pages, scout):
    for model in ("sonnet", "opus"):
        pages("applied", name="scout", text=f'model = "{model}"\n')
    scout.get_by_role("link", name="Config").click()
    expect(scout.locator(".note-text")).to_contain_text('model = "opus"')
    expect(scout.locator(".revs li")).to_have_count(2)
    scout.locator(".revs a").first.click()
    expect(scout.locator("tr.del")).to_contain_text('model = "sonnet"')
    expect(scout.get_by_text("This is what is applied.")).to_be_visible()
    scout.locator(".revs a").last.click()
    scout.get_by_role("button", name="go back to this").click()
    expect(scout.locator(".note")).to_contain_text("scout goes back to")
    [approval] = [row for row in pages("approvals") if row["agent"] == "scout"]
    assert (approval["state"], approval["content"]) == ("approved", 'model = "sonnet"\n')


def test_vital_signs_are_plotted(pages, scout):
    pages("samples", name="scout")
    usage = {"input_tokens": 2000, "cache_read_input_tokens": 120_000, "cache_creation_input_tokens": 0}
    pages("event", agent="scout", kind="assistant", payload={"message": {"content": [], "usage": usage}})
    scout.get_by_role("link", name="Vitals").click()
    expect(scout.locator("svg.plot")).to_have_count(3)
    expect(scout.get_by_role("img", name=re.compile("cpu in the last half hour"))).to_be_visible()
    expect(scout.locator("#part-vitals")).to_contain_text("61 % full")


def test_interrupting(pages, scout):
    pages("state", name="scout", state="thinking")
    pages("claim", to="scout")
    scout.get_by_role("button", name="Interrupt the turn of scout").click()
    expect(scout.locator("#toast")).to_contain_text("interrupt scout")
    assert pages("interrupted", name="scout") == "turn-scout"


def test_every_tab_works_without_scripts(chromium, pages):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{pages.url}/login")
    page.get_by_label("or paste the token").fill(pages("mint"))
    page.get_by_role("button", name="Enter").click()
    page.goto(f"{pages.url}/agents/scout/")
    for name in ("Inbox", "Notes", "Config", "Turns", "Login", "Vitals", "Live"):
        page.get_by_role("navigation", name="scout").get_by_role("link", name=name).click()
        expect(page.get_by_role("navigation", name="scout").locator("[aria-current]")).to_contain_text(name)
    page.get_by_role("navigation", name="scout").get_by_role("link", name="Login").click()
    page.get_by_role("button", name="log in").click()
    expect(page.locator(".note")).to_contain_text("starts claude auth login")
    context.close()


# ---- logging in -------------------------------------------------------------------------------------------------------


def test_logging_in_step_by_step(pages, scout):
    pages("login", name="scout", state="", takes=0, logged_in=False)
    pages("state", name="scout", state="login", why="Claude is not logged in.")
    scout.locator("#part-hero").get_by_role("link", name="log in").click()
    live(scout)
    scout.get_by_role("button", name="log in").click()
    expect(scout.locator("#part-login")).to_contain_text("Asked its harness to start")
    assert pages("wish", name="scout")["wish"] == "start"
    pages("login", name="scout", state="starting")
    pages("login", name="scout", state="waiting", link=LINK)
    link = scout.locator("#login-link")
    expect(link).to_have_attribute("href", LINK)
    expect(scout.locator("time.left")).to_contain_text(re.compile(r"9 m|10 m"))
    scout.get_by_text("show QR").click()
    expect(scout.get_by_role("img", name="QR code of the link")).to_be_visible()
    scout.context.grant_permissions(["clipboard-read", "clipboard-write"])
    scout.get_by_role("button", name="copy link").click()
    expect(scout.get_by_role("button", name="copied")).to_be_visible()
    assert scout.evaluate("navigator.clipboard.readText()") == LINK

    code = scout.get_by_label("Paste the code that the page shows")
    code.fill("half-a-code")
    scout.get_by_role("button", name="finish").click()
    expect(scout.locator("#part-login")).to_contain_text("claude checks the code")
    assert pages("wish", name="scout")["code"] == "half-a-code"
    pages("login", name="scout", state="waiting", words="Invalid code. Please make sure the full code was copied.")
    expect(scout.get_by_role("alert").filter(has_text="Invalid code")).to_be_visible()
    code.fill("good#code")
    scout.get_by_role("button", name="finish").click()
    until(lambda: pages("wish", name="scout").get("code") == "good#code", "the code has arrived", 15)
    pages("login", name="scout", state="ok", logged_in=True, account="claude.ai · max")
    expect(scout.locator("#part-login")).to_contain_text("logged in, claude.ai · max")
    scout.get_by_role("button", name="log out").click()
    until(lambda: pages("wish", name="scout")["wish"] == "logout", "the wish has arrived", 15)


def test_what_is_typed_outlives_what_happens_meanwhile(pages, scout):
    pages("begin_login", name="scout")
    pages("login", name="scout", state="waiting", link=LINK)
    scout.get_by_role("navigation", name="scout").get_by_role("link", name="Login").click()
    live(scout)
    code = scout.get_by_label("Paste the code that the page shows")
    code.fill("half-typ")
    for number in range(3):
        pages("turn", agent="scout", id=f"turn-1{number:03}", number=10 + number, started_at="2026-11-22T20:13:48Z")
    time.sleep(1)
    expect(code).to_have_value("half-typ")
    scout.get_by_role("button", name="cancel the login").click()
    expect(code).to_have_count(0)
    expect(scout.locator("#toast")).to_contain_text("called off")
