"""What each role sees in a real browser, and the pages that only admins have."""

import re

import pytest

from .conftest import live, sync_api, watched
from .test_access import AXE, FINDINGS, THEMES, WIDTHS, dress

expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def signed_in(chromium, pages, **link):
    page = watched(chromium)
    page.goto(f"{pages.url}/login#{pages('mint', **link)}")
    page.wait_for_url(f"{pages.url}/")
    live(page)
    return page


def test_a_viewer_watches_and_finds_nothing_to_press(chromium, pages):
    pages("ask", name="sonar", why="a second reader")
    page = signed_in(chromium, pages, role="viewer")
    expect(page.locator("#approval-1")).to_be_visible()
    pages("ask", name="radar", why="another one")
    expect(page.locator("#approval-2")).to_be_visible()
    for path in ("/", "/agents/scout/"):
        page.goto(pages.url + path)
        live(page)
        expect(page.locator("main form[method=post]").locator("visible=true")).to_have_count(0)
        # Whatever sends a form, by its kind and not by how it is hidden; a plain button only shows something else.
        expect(page.locator("main button:not([type=button])").locator("visible=true")).to_have_count(0)
        asking = page.locator("[formaction], [data-ask], #many, .pick").locator("visible=true")
        expect(asking).to_have_count(0)
    expect(page.locator("footer")).to_contain_text("signed in as operator, viewer")
    # What is hidden is refused as well.
    page.goto(pages.url)
    page.evaluate("document.documentElement.dataset.role = 'admin'")
    page.locator("#approval-1 button.ok").click()
    expect(page.locator("#toast")).to_contain_text("You are signed in as viewer")
    assert pages("approval", id=1)["state"] == "pending"
    assert [said for said in page.complaints if "403" not in said] == []
    page.context.close()


def test_an_admin_makes_a_link_that_signs_somebody_in(chromium, pages):
    admin = signed_in(chromium, pages)
    admin.locator("footer a", has_text="users").click()
    admin.locator("#user-name").fill("anna")
    admin.locator("#user-role").select_option("viewer")
    admin.locator("form.compose button").click()
    expect(admin.locator("#user-anna")).to_contain_text("viewer")
    admin.locator("#user-anna button", has_text="link").click()
    link = admin.locator("code.url").inner_text()
    anna = watched(chromium)
    anna.goto(link)
    anna.wait_for_url(f"{pages.url}/")
    live(anna)
    expect(anna.locator("footer")).to_contain_text("signed in as anna, viewer")
    admin.locator("#user-anna button", has_text="remove").click()
    expect(admin.locator("#user-anna")).to_have_count(0)
    anna.reload()
    expect(anna).to_have_url(re.compile("/login"))
    assert (admin.complaints, anna.complaints) == ([], [])
    admin.context.close()
    anna.context.close()


def test_the_admin_site_lives_under_the_policy(chromium, pages):
    pages("send", sender="operator", to="scout", body="<script>alert(1)</script>")
    page = signed_in(chromium, pages)
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    for path in (
        "",
        "broker/message/",
        "broker/message/1/change/",
        "lifecycle/container/?status=running",
        "auth/user/",
    ):
        page.goto(f"{pages.url}/admin/{path}")
        expect(page.locator("#site-name")).to_have_text("hyperhive")
        page.locator(".theme-toggle").click()
    page.locator("#logout-form button").click()
    expect(page).to_have_url(re.compile("/login"))
    assert page.complaints == []
    page.context.close()


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_on_the_users_page(chromium, pages, theme):
    context = chromium.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(f"{pages.url}/login#{pages('mint')}")
    page.wait_for_url(f"{pages.url}/")
    dress(context, pages, theme)
    page.goto(f"{pages.url}/users")
    page.locator("#user-operator button").click()
    page.locator(".prefs summary").click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(AXE.read_text())
        assert page.evaluate(FINDINGS) == [], f"at {width} px"
        box = page.locator(".prefs form").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"scrolls sideways at {width} px"
    context.close()
