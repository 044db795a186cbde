"""What agents write stays text: payloads in everything a page shows of them, on first load and live, in a real browser."""

from pathlib import Path

import pytest

from tests.hives import until

from .conftest import live, sync_api, watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Each line calls boom() or asks for /boom when it runs; %n is its number. Kinds as in OWASP's filter evasion list.
PAYLOADS = (Path(__file__).parents[1] / "fixtures/xss.txt").read_text().splitlines()
LOT = [
    payload.replace("%n", str(number)).replace("\\u202e", "\u202e").replace("\\u2066", "\u2066")
    for number, payload in enumerate(PAYLOADS)
]


def event_payloads(text):
    """Every kind of event that is shown, with the text wherever an agent decides what stands there."""
    block = {"type": "tool_use", "id": text, "name": text, "input": {"command": text, text: text}}
    return [
        ("assistant", {"message": {"content": [{"type": "text", "text": text}]}}),
        ("assistant", {"message": {"content": [{"type": "thinking", "thinking": text}, block]}}),
        ("user", {"message": {"content": [{"type": "tool_result", "tool_use_id": text, "content": text, "is_error": True}]}}),
        ("user", {"message": {"content": text}}),
        ("result", {"subtype": text, "result": text, "is_error": True, "errors": [text]}),
        ("system", {"subtype": text, "cwd": text, "model": text, "tools": [text]}),
        ("rate_limit_event", {"rate_limit_info": {"status": text}}),
        ("log", {"text": text}),
        ("state", {"state": "failing", "why": text}),
        ("turn", {"phase": "end", "outcome": text, "error": text}),
        (text[:40], {text: text}),
    ]  # fmt: skip


def fill(pages, text):
    number = fill.number = getattr(fill, "number", 0) + 1
    pages("send", sender="scout", to="operator", body=text)
    pages("send", sender="scout", to="hm1nd", body=text)
    pages("dead", message=pages("send", sender="hm1nd", to="scout", body=text), reason=text)
    pages("state", name="scout", state="failing", why=text)
    pages("turn", agent="scout", id=f"turn-{number:04}", number=number, started_at="2026-11-22T20:13:48Z",
          ended_at="2026-11-22T20:14:48Z", outcome=text[:20], error=text, model=text[:80])  # fmt: skip
    for kind, payload in event_payloads(text):
        pages("event", agent="scout", kind=kind, payload=payload, turn=f"turn-{number:04}")


@pytest.fixture
def trap(chromium, pages):
    """A signed-in tab, and what went off in it."""
    page = watched(chromium)
    page.went_off = []
    page.on("dialog", lambda dialog: (page.went_off.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: "boom" in asked.url and page.went_off.append(asked.url))
    page.context.expose_function("boom", lambda *said: page.went_off.append(said))
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    yield page
    went_off, complaints = page.went_off, list(page.complaints)
    page.context.close()
    assert went_off == []
    assert complaints == []


ADDRESSES = ["/", "/agents/scout/"]
# Found and opened, not live: what is looked up, every message in full, every decision.
LOOKED_UP = ["/search?q=onerror", "/search?q=agent:scout+script", "/search?q=from:hm1nd", "/approvals"]


@pytest.mark.parametrize("how", ["on first load", "live"])
def test_nothing_an_agent_writes_goes_off(pages, trap, how):
    assert len(LOT) >= 40
    pages("output", name="scout", text="\n".join(LOT))
    if how == "on first load":
        for text in LOT:
            fill(pages, text)
        for number, text in enumerate(LOT[:20]):
            pages("ask", name=f"s{number}", why=text)
        # Compared with each other, so that marks begin and end within them.
        pages("applied", name="scout", text="\n".join(LOT))
        pages("change", name="scout", content="\n".join(LOT).replace("boom", "bang; boom"))
    for path in ADDRESSES:
        trap.goto(pages.url + path)
        live(trap)
        if how == "live":
            for text in LOT:
                fill(pages, text)
            until(lambda: LOT[-1][:20] in trap.locator("body").inner_text(), f"the last payload is shown on {path}", 60)
        text = trap.locator("body").inner_text()
        assert sum(payload[:20] in text for payload in LOT) > 10, "the payloads are shown as text"
        trap.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        if path.startswith("/agents"):
            sync_api.expect(trap.locator("pre.log-tail")).to_contain_text("onerror=boom(4)")
        trap.wait_for_timeout(300)


def test_nothing_goes_off_in_what_is_looked_up(pages, trap):
    for text in LOT:
        fill(pages, text)
        pages("deny", id=pages("ask", name=f"s{fill.number}", why=text))
    pages("index")
    for path in LOOKED_UP:
        trap.goto(pages.url + path)
        assert sum(payload[:20] in trap.locator("body").inner_text() for payload in LOT) > 2, path
    pages("applied", name="scout", text="\n".join(LOT))
    number = pages("change", name="scout", content="\n".join(LOT).replace("boom", "bang; boom"))
    trap.goto(f"{pages.url}/approvals/{number}")
    assert sum(payload[:20] in trap.locator(".diff").inner_text() for payload in LOT) > 10
    assert trap.locator(".diff ins").count() > 10
    for number in [row["id"] for row in pages("messages") if row["body"] in LOT]:
        trap.goto(f"{pages.url}/messages/{number}")
        trap.wait_for_timeout(20)
    # In the list of Ctrl K, and opened in the flow.
    trap.goto(pages.url)
    live(trap)
    trap.keyboard.press("Control+k")
    trap.keyboard.type("onerror")
    sync_api.expect(trap.locator("dialog[open] .hits")).not_to_have_count(0)
    trap.keyboard.press("Escape")
    trap.evaluate("document.querySelectorAll('#part-flow details').forEach(it => it.open = true)")
    sync_api.expect(trap.locator("#part-flow .body .md")).to_have_count(trap.locator("#part-flow details").count())
    trap.wait_for_timeout(300)


def test_nothing_on_an_agents_other_pages_goes_off(pages, trap):
    for text in LOT:
        fill(pages, text)
        pages("note", name="scout", path=text.replace("/", "_").replace("\0", "")[:80] or "x", text=text)
    pages("note", name="scout", path="all", text="\n".join(LOT))
    pages("applied", name="scout", text="\n".join(LOT))
    pages("login", name="scout", state="", takes=0, logged_in=True, account="".join(LOT)[:200])
    pages("begin_login", name="scout")
    for path, wanted in (
        ("notes?file=all", LOT[-1]), ("config", LOT[-1]), ("inbox", LOT[-1]), ("turns", LOT[-1]), ("vitals", LOT[0]),
        ("login", LOT[0]),
    ):  # fmt: skip
        trap.goto(f"{pages.url}/agents/scout/{path}")
        live(trap)
        assert wanted[:15] in trap.locator("body").inner_text(), f"the payloads are shown as text on {path}"
        trap.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        trap.wait_for_timeout(200)
    for words in LOT[::4]:
        pages("login", name="scout", state="waiting", link="https://claude.ai/oauth/authorize?z", words=words[:500])
        until(
            lambda words=words: words[:10] in trap.locator("#part-login").inner_text(), "claude's words are shown", 15
        )


def test_the_trap_catches(chromium, pages):
    page = watched(chromium)
    caught = []
    page.context.expose_function("boom", lambda said: caught.append(said))
    page.goto(f"{pages.url}/login")
    page.evaluate("boom(1)")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=/boom/2>')")
    until(lambda: caught == [1], "boom was heard")
    page.context.close()
