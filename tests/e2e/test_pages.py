"""What the operator sees and does, in a real browser."""

import re
import time
from pathlib import Path

import pytest

from tests.hives import until

from .conftest import live, sync_api

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def text_event(pages, agent, text):
    pages("event", agent=agent, kind="assistant", payload={"message": {"content": [{"type": "text", "text": text}]}})


def shown_ids(page):
    return page.eval_on_selector_all("#events-list > .ev", "rows => rows.map(row => Number(row.id.slice(6)))")


# ---- signing in -------------------------------------------------------------------------------------------------------


def test_the_link_signs_in_once_and_leaves_no_token_behind(pages, tab):
    assert tab.evaluate("location.href + history.length") == f"{pages.url}/{tab.evaluate('history.length')}"
    token = pages("mint")
    tab.get_by_role("button", name="sign out").click()
    tab.wait_for_url("**/login")
    tab.get_by_label("or paste the token").fill(token)
    tab.get_by_role("button", name="Enter").click()
    tab.wait_for_url(f"{pages.url}/")
    tab.get_by_role("button", name="sign out").click()
    tab.goto(f"{pages.url}/login#{token}")
    expect(tab.get_by_role("alert").first).to_contain_text("used before")
    tab.complaints.clear()  # the 403 that was meant


def test_signing_out_elsewhere_ends_the_live_link(pages, tab):
    other = tab.context.new_page()
    other.goto(pages.url)
    other.get_by_role("button", name="sign out").click()
    tab.wait_for_url("**/login?next=/", timeout=40000)


# ---- live -------------------------------------------------------------------------------------------------------------


def test_a_row_appears_without_a_reload_and_stays_text(pages, tab):
    tab.evaluate("window.same = true")
    text_event(pages, "scout", "<script>document.title='owned'</script><img src=x onerror=alert(1)>")
    expect(tab.locator("#events-list")).to_contain_text("<img src=x onerror=alert(1)>")
    assert tab.evaluate("window.same")
    assert tab.title() == "hyperhive"


def test_states_and_messages_are_live(pages, tab):
    pages("state", name="scout", state="thinking")
    expect(tab.locator("#agent-scout .st")).to_contain_text("thinking")
    pages("send", sender="scout", to="operator", body="three papers found")
    expect(tab.locator("#part-inbox")).to_contain_text("three papers found")
    expect(tab.locator("#inbox .n")).to_have_text("1")
    expect(tab.locator("#part-flow .wait")).to_contain_text(re.compile(r"waits \d+ s"))
    tab.get_by_role("button", name="mark 1 as read").click()
    expect(tab.locator("#inbox .n")).to_be_hidden()
    expect(tab.locator("#part-flow .d")).to_contain_text("read 0 s later")


def test_a_killed_server_loses_and_doubles_no_row(pages, tab):
    for n in range(20):
        text_event(pages, "scout", f"before {n}")
    expect(tab.locator("#events-list")).to_contain_text("before 19")
    pages.kill()
    expect(tab.locator("#link")).to_contain_text("no link", timeout=15000)
    expect(tab.locator("#banner")).to_be_visible(timeout=15000)
    pages.start()
    for n in range(40):
        text_event(pages, "scout", f"after {n}")
    live(tab)
    expect(tab.locator("#events-list")).to_contain_text("after 39")
    assert shown_ids(tab) == list(range(1, 61))
    expect(tab.locator("#banner")).to_be_hidden()
    assert all("WebSocket" in complaint for complaint in tab.complaints), tab.complaints
    tab.complaints.clear()


# ---- acting -----------------------------------------------------------------------------------------------------------


def test_sending(pages, tab):
    tab.get_by_label("to", exact=True).select_option("scout")
    tab.get_by_label("message", exact=True).fill("read the\npapers")
    tab.get_by_label("message", exact=True).press("Control+Enter")
    expect(tab.locator("#toast")).to_contain_text("waits for scout")
    expect(tab.locator("#part-flow")).to_contain_text("read the papers")
    expect(tab.get_by_label("message", exact=True)).to_have_value("")
    [message] = pages("messages")
    assert (message["sender"], message["recipient"], message["body"]) == ("operator", "scout", "read the\npapers")
    pages("read", to="scout")
    expect(tab.locator("#part-flow .d")).to_contain_text("later")


def test_a_draft_outlives_a_reload(tab):
    tab.get_by_label("message", exact=True).fill("half a thought")
    tab.reload()
    expect(tab.get_by_label("message", exact=True)).to_have_value("half a thought")


def test_a_refused_message_keeps_its_text(pages, tab):
    tab.get_by_label("message", exact=True).fill("x" * 70_000)
    tab.get_by_role("button", name="Send").click()
    expect(tab.locator("#toast.bad")).to_contain_text("at most 64 KiB")
    expect(tab.get_by_label("message", exact=True)).not_to_have_value("")
    tab.complaints.clear()  # the 400 that was meant


def test_what_the_hive_does_not_hear_is_said_and_kept(pages, tab):
    pages("ask", name="sonar", why="a second reader")
    field, send = tab.get_by_label("message", exact=True), tab.get_by_role("button", name="Send")
    field.fill("half a thought")
    approve = tab.get_by_role("button", name=re.compile("^Approve"))
    expect(approve).to_be_visible()
    pages.kill()
    approve.click()
    expect(tab.locator("#toast.bad")).to_have_text(re.compile("The hive did not answer: try again."))
    expect(send).to_be_disabled(timeout=15000)
    expect(tab.locator(".compose")).to_contain_text("the draft is kept until the link is back")
    pages.start()
    live(tab)
    expect(send).to_be_enabled()
    send.click()
    expect(tab.locator("#toast")).to_contain_text("waits for hm1nd")
    assert [message["body"] for message in pages("messages")] == ["half a thought"]
    tab.complaints.clear()  # a link that was lost, and a request without an answer


def test_approving_by_a_click(pages, tab):
    id_ = pages("ask", name="sonar", why="a second reader")
    card = tab.locator(f"#approval-{id_}")
    expect(card).to_contain_text("a second reader")
    expect(tab).to_have_title("(1) hyperhive")
    card.get_by_role("button", name=re.compile("Approve")).click()
    expect(card).to_contain_text("Approved by operator")
    # Asked of the document: whether the window itself has the focus is the machine's business.
    until(lambda: card.evaluate("card => card === document.activeElement"), "the decided card has the focus", 10)
    expect(tab).to_have_title("hyperhive")
    row = pages("approval", id=id_)
    assert (row["state"], row["decided_from"]) == ("approved", "the dashboard at 127.0.0.1")


def test_a_decision_is_not_taken_back_by_what_was_served_before_it(pages, tab):
    id_ = pages("ask", name="sonar", why="a second reader")
    card = tab.locator(f"#approval-{id_}")
    expect(card).to_contain_text("a second reader")
    tab.evaluate("() => { window.before = latest.approvals }")
    card.get_by_role("button", name=re.compile("Approve")).click()
    expect(card).to_contain_text("Approved by operator")
    tab.evaluate("() => place('approvals', before)")
    tab.wait_for_timeout(300)
    expect(card).to_contain_text("Approved by operator")


def test_denying_with_a_reason(pages, tab):
    id_ = pages("ask", name="sonar", why="a second reader")
    card = tab.locator(f"#approval-{id_}")
    card.locator("summary", has_text="Deny").click()
    card.get_by_label("reason").fill("one is enough")
    card.get_by_role("button", name="Deny").click()
    expect(card).to_contain_text("one is enough")
    assert pages("approval", id=id_)["reason"] == "one is enough"


def test_a_card_in_use_is_left_alone_and_a_late_yes_is_told_who_was_first(pages, tab):
    id_ = pages("ask", name="sonar", why="a second reader")
    card = tab.locator(f"#approval-{id_}")
    card.locator("summary", has_text="Deny").click()
    card.get_by_label("reason").fill("half a reas")
    pages("ask", name="lint", why="somebody has to")
    expect(tab.locator("#part-approvals")).to_contain_text("somebody has to")
    pages("deny", id=id_)
    text_event(pages, "scout", "a while later")
    expect(tab.locator("#events-list")).to_contain_text("a while later")
    expect(card.get_by_label("reason")).to_have_value("half a reas")
    card.get_by_role("button", name=re.compile("Approve")).click()
    expect(tab.locator("#toast")).to_contain_text("already denied, by operator from the command line")
    expect(card).to_contain_text("Denied by operator")
    tab.complaints.clear()  # the 409 that was meant


def test_stopping_an_agent(pages, tab):
    tab.get_by_role("button", name="stop scout").click()
    dialog = tab.get_by_role("dialog", name="stop scout?")
    expect(dialog).to_contain_text("its message waits again")
    expect(dialog).to_contain_text("$ hive stop scout")
    dialog.get_by_role("button", name="stop").click()
    expect(dialog).to_be_hidden()
    expect(tab.locator("#toast")).to_contain_text("stop scout: on its way")
    expect(tab.get_by_role("button", name="start scout")).to_be_visible()
    assert pages("op", name="scout") == "stop"


def test_requeue(pages, tab):
    pages("dead", message=pages("send", sender="hm1nd", to="scout", body="try this"))
    tab.get_by_role("button", name="requeue").click()
    expect(tab.locator("#part-flow .wait")).to_contain_text("waits")


# ---- an agent's page --------------------------------------------------------------------------------------------------


def test_an_agents_page(pages, tab):
    text_event(pages, "hm1nd", "not of this page")
    tab.get_by_role("link", name="scout").click()
    live(tab)
    text_event(pages, "scout", "I start with the walker")
    expect(tab.locator("#events-list")).to_contain_text("I start with the walker")
    expect(tab.locator("#events-list")).not_to_contain_text("not of this page")
    turn = {"id": "t-58", "number": 58, "started_at": "2026-11-22T20:13:48Z"}
    pages("turn", agent="scout", **turn)
    tab.get_by_role("link", name="Turns").click()
    live(tab)
    expect(tab.locator("#turn-58")).to_contain_text("running")
    pages("turn", agent="scout", **turn, ended_at="2026-11-22T20:14:39Z", outcome="ok", cost_usd=0.06)
    expect(tab.locator("#turn-58")).to_contain_text("51 s")
    tab.get_by_role("link", name="Live").click()
    live(tab)
    tab.get_by_label("message", exact=True).fill("well done")
    tab.get_by_role("button", name="Send").click()
    expect(tab.locator("#part-flow")).to_contain_text("well done")
    tab.get_by_role("button", name="restart scout").click()
    tab.get_by_role("dialog").get_by_role("button", name="restart").click()
    expect(tab.locator("#part-hero")).to_contain_text("It is being restarted")
    # The click's own answer may come after the live one: it has to find its page still there.
    expect(tab.locator("#toast")).to_contain_text("restart")


# ---- by hand, and on a phone ------------------------------------------------------------------------------------------


def test_without_scripts_the_forms_work(chromium, pages):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{pages.url}/login")
    page.get_by_label("or paste the token").fill(pages("mint"))
    page.get_by_role("button", name="Enter").click()
    page.get_by_label("message", exact=True).fill("by hand")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".note")).to_contain_text("waits for hm1nd")
    id_ = pages("ask", name="sonar", why="a second reader")
    page.reload()
    pages("deny", id=id_)
    page.get_by_role("button", name=re.compile("Approve")).click()
    expect(page.get_by_role("alert")).to_contain_text("already denied")
    page.get_by_role("link", name="back").click()
    expect(page).to_have_url(f"{pages.url}/")
    context.close()


LONG = "a_word_without_end_" * 30


def fill(pages):
    """A hive in which much goes on."""
    pages("send", sender="operator", to="hm1nd", body="please get the symlink bug out of the way before the release")
    pages("read", to="hm1nd")
    pages("state", name="hm1nd", state="thinking")
    pages("send", sender="hm1nd", to="scout", body=f"The scanner fails on symlinked folders.\n\n{LONG}")
    pages("dead", message=pages("send", sender="hm1nd", to="scout", body="write the manual"))
    pages(
        "send",
        sender="scout",
        to="operator",
        body="Found three papers on long-poll fairness;\nnotes are in /state/reading/fair.md.",
    )
    pages("ask", name="sonar", why="a second reader for the audio papers, same config as scout")
    pages("deny", id=pages("ask", name="lint", why="to look after the tests"))
    pages("state", name="scout", state="login", why="Claude is not logged in.")
    pages(
        "event", agent="hm1nd", kind="wake", payload={"messages": [1], "from": "operator", "header": "one new message"}
    )
    call = {"type": "tool_use", "name": "Bash", "input": {"command": f"pytest -q {LONG}"}}
    pages("event", agent="scout", kind="assistant", payload={"message": {"content": [call]}})
    failed = {"type": "tool_result", "is_error": True, "content": f"FAILED tests/test_scan.py\n{LONG}"}
    pages("event", agent="scout", kind="user", payload={"message": {"content": [failed]}})
    text_event(pages, "scout", "I keep a set of (device, inode) pairs and skip what was seen.")
    pages("event", agent="scout", kind="result", payload={"result": "replied to hm1nd"})
    for number, outcome in ((1, "ok"), (2, "timeout"), (3, "")):
        ended = {"ended_at": "2026-11-22T20:14:39Z"} if outcome else {}
        row = {
            "id": f"t-{number}",
            "number": number,
            "started_at": "2026-11-22T20:13:48Z",
            "outcome": outcome,
            "cost_usd": 0.06,
            "input_tokens": 18100,
        }
        pages("turn", agent="scout", **row, **ended)  # fmt: skip


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_no_page_is_wider_than_the_screen(pages, tab, width, tmp_path):
    fill(pages)
    tab.set_viewport_size({"width": width, "height": 844})
    for path in ("/", "/agents/scout/", "/agents/scout/turns", "/agents/scout/inbox"):
        tab.goto(pages.url + path)
        live(tab)
        time.sleep(0.3)
        shots = Path(tmp_path)
        tab.screenshot(path=shots / f"{path.strip('/').replace('/', '-') or 'index'}-{width}.png", full_page=True)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        if width < 1000:
            continue
        assert tab.locator(".tabs-m").is_hidden()


# ---- times ------------------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_place_or_utc(chromium, pages):
    """In a browser that is five and a half hours ahead; the choice is kept as the look is."""
    context = chromium.new_context(timezone_id="Asia/Kolkata")
    page = context.new_page()
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    live(page)
    text_event(pages, "scout", "hello")
    time_of_it = page.locator("#events-list time").last
    expect(time_of_it).to_have_text("11-23 01:44")
    expect(time_of_it).to_have_attribute("title", "2026-11-22 20:14:02 UTC, 2026-11-23 01:44:02 here")
    pages("send", sender="scout", to="hm1nd", body="just now")
    expect(page.locator("#part-flow time").first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    expect(page.locator("#clock")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    page.locator("summary", has_text="prefs").click()
    page.get_by_label("UTC").check()
    page.get_by_role("button", name="keep").click()
    live(page)
    expect(time_of_it).to_have_text("11-22 20:14")
    expect(time_of_it).to_have_attribute("title", "2026-11-22 20:14:02 UTC")
    expect(page.locator("#clock")).to_contain_text("UTC")
    page.reload()
    expect(time_of_it).to_have_text("11-22 20:14")
    context.close()
