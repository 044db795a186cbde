"""`hive search` and `hive audit`."""

from .fake_host import act, container, hit, then


def found(*hits, on=0, looked=7, behind=False):
    return {
        "hits": list(hits),
        "events": {"looked": looked, "back_to": then() if on else None, "on": on},
        "behind": behind,
    }


def test_a_search_sends_what_was_typed_and_prints_what_was_found(host, hive):
    host.answers["search"] = found(hit(4), hit(9, title="#9 hm1nd → scout", text="more\nwords"))
    done = hive("search", "from:scout", "a word", "--", "-without")
    assert host.said("search") == [{"query": "from:scout a word -without"}]
    assert (done.code, done.err) == (0, "")
    assert [line.split("  ")[1] for line in done.out.splitlines()[::2]] == ["#4 scout → hm1nd", "#9 hm1nd → scout"]
    assert done.out.splitlines()[3] == "    more words"
    assert hive("search", "x", "-q").out == "/messages/4\n/messages/9\n"
    assert hive("search", "x", "--json").json() == {"schema": 1} | host.answers["search"]


def test_what_was_not_looked_through_is_said_and_all_goes_on(host, hive):
    host.answers["search"] = [found(on=50, behind=True)]
    first = hive("search", "x")
    assert (first.code, first.out) == (0, "")
    assert "nothing matches" in first.err
    assert "7 events were looked through, back to" in first.err
    assert "still being taken in" in first.err
    host.answers["search"] = [found(hit(1), on=50), found(on=20), found(hit(2))]
    whole = hive("search", "x", "--all", "--json").json()
    assert [row["page"] for row in whole["hits"]] == ["/messages/1", "/messages/2"]
    assert whole["events"] == {"looked": 21, "back_to": None, "on": 0}
    assert [said.get("before") for said in host.said("search")] == [None, None, 50, 20]
    host.answers["search"] = {"hits": [], "events": None, "behind": False}
    assert hive("search", "to:scout", "--all").err == "nothing matches\n"


def test_a_search_for_nothing_is_a_usage_error_but_lists_the_filters_for_a_shell(host, hive):
    host.answers["list"] = {"agents": [container()]}
    assert hive("search").code == 2
    assert hive("search", "-q").out.split() == [
        "before:", "scout", "from:operator", "from:scout", "to:operator", "to:scout", "agent:operator", "agent:scout",
    ]  # fmt: skip


def test_an_audit_reads_as_a_table(host, hive):
    host.answers["audit"] = {"acts": [act(3), act(4, verb="send", target="*", words="#5, #6")]}
    done = hive("audit", "scout", "--limit", "9")
    assert host.said("audit") == [{"target": "scout", "limit": 9}]
    assert done.out.splitlines()[0].split()[:2] == ["ID", "TIME"]
    assert "the command line, uid 0" in done.out
    assert hive("audit", "-q").out == "3\n4\n"
    host.answers["audit"] = {"acts": []}
    assert "nothing was done yet" in hive("audit").err
