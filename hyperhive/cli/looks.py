"""How the host's answers read: each look turns one into tables and lines of text. It neither prints nor cleans them."""

import json
from collections.abc import Iterator
from typing import Any

from broker.clean import clean

from .since import age, clock, lasted
from .terminal import Block, Cell, Table

Row = dict[str, Any]

# State -> glyph and style; the glyphs are those of agents.models.STATES, which a command that only asks does not load.
STATES = {
    "idle": ("●", "green"),
    "thinking": ("◐", "yellow"),
    "offline": ("○", "dim"),
    "login": ("◇", "magenta"),
    "rebuilding": ("▣", "cyan"),
    "failing": ("✖", "red"),
    "paused": ("‖", "yellow"),
}
# A state of a message, an approval or a turn -> style; the others have none.
STYLES = {
    "ok": "green",
    "delivered": "green",
    "applied": "green",
    "approved": "green",
    "claimed": "yellow",
    "pending": "yellow",
    "dead": "red",
    "failed": "red",
    "denied": "red",
}
# What `status` shows first; the rest follows as the host gives it.
FOREMOST = ("name", "role", "state", "state_since", "why", "error", "status", "op", "step", "inbox")
NO_AGENTS = "no agents yet: ask hm1nd for one, or `hive spawn NAME`"
FIRST = 200  # characters of a body or an event that a line shows


def badge(state: str) -> Cell:
    glyph, style = STATES.get(state, ("?", ""))
    return f"{glyph} {state}", style


def styled(state: str) -> Cell:
    return state, STYLES.get(state, "")


def first(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text[: 2 * FIRST].split())
    return line if len(line) <= FIRST else line[:FIRST] + "…"


def indented(text: str) -> str:
    """Set off, so that no line of it can pass for one of ours."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def pairs(row: Row, *names: str) -> Table:
    """One row, a line per field that says something."""
    return Table(("", ""), [((name, "dim"), text) for name in names if (text := _text(row.get(name)))])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return "" if value is None else str(value)


# ---- agents


def agents(result: Row) -> list[Block]:
    return [
        Table(
            ("NAME", "ROLE", "STATE", "AGE", "INBOX", "DRIVER", "WHY"),
            [_agent(row) for row in result["agents"]],
            NO_AGENTS,
        )
    ]


def _agent(row: Row) -> tuple[Cell, ...]:
    return (
        row["name"], row.get("role", ""), badge(row.get("state", "")), age(row.get("state_since")),
        str(row.get("inbox", "")), row.get("driver", ""), row.get("why") or row.get("error") or row.get("step") or "",
    )  # fmt: skip


def agent(row: Row) -> list[Block]:
    return [pairs(row, *dict.fromkeys((*FOREMOST, *row)))]


def marked(row: Row) -> list[Block]:
    return [f"{row['name']}: {row['state']}"]


def panic(result: Row) -> list[Block]:
    return [
        f"{len(result['ended'])} turns end now, {len(result['paused'])} agents are paused; their messages wait",
        "`hive panic --over` lets them go on",
    ]


def panic_over(result: Row) -> list[Block]:
    return [f"{name}: goes on" for name in result["resumed"]]


def one_state(row: Row) -> list[Block]:
    """What became of an agent, after a verb that changed it."""
    return [f"{row['name']}: {row['status']}", *(_removed(place) for place in row.get("purged") or ())]


def rebuilt(result: Row) -> list[Block]:
    found = [block for row in result["agents"] for block in one_state(row)]
    return found or [Table((), [], "every container is as it would be made now")]


def _removed(place: Row) -> str:
    return f"removed {place['path']} ({place['files']} files, {place['bytes']} bytes)"


def why(result: Row) -> list[Block]:
    mend = [f"mend it: {result['fix']}"] if result.get("fix") else []
    return [f"{result['name']}: {result['state']}", first(result["why"]) or "No reason is known.", *mend]


def login(row: Row) -> list[Block]:
    if row["state"] == "ok" or (row["logged_in"] and not row["state"]):
        return [f"{row['name']}: logged in, {row['account']}"]
    return [f"{row['name']}: {LOGINS.get(row['state'], row['state'])}"]


LOGINS = {"": "logged out, as soon as its harness hears of it", "checking": "claude checks the code"}


def login_link(row: Row) -> list[Block]:
    return [row["link"]]


# ---- messages


def messages(result: Row) -> list[Block]:
    headings = ("ID", "TIME (UTC)", "FROM", "TO", "STATE", "BODY")
    return [Table(headings, [_message(row) for row in result["messages"]], "no message fits")]


def _message(row: Row) -> tuple[Cell, ...]:
    return (
        str(row["id"]),
        clock(row["created_at"]),
        row["sender"],
        row["recipient"],
        styled(row["state"]),
        first(row["body"]),
    )


def message_line(row: Row) -> list[Block]:
    way = f"{row['sender']} → {row['recipient']}"
    return [f"{row['id']}  {clock(row['created_at'])}  {way}  {row['state']}  {first(row['body'])}"]


def letter(row: Row) -> list[Block]:
    return [f"#{row['id']} from {row['sender']}, {age(row['created_at'])} ago\n{indented(row['body'])}\n"]


def letters(result: Row) -> list[Block]:
    return [block for row in result["messages"] for block in letter(row)] or [Table((), [], "nothing waits for you")]


def sent(row: Row) -> list[Block]:
    if "reply" in row:
        return [row["reply"]["body"]]
    return [f"#{row['id']} to {row['recipient']}: {row['state']}"]


# ---- what an agent did


def events(result: Row) -> list[Block]:
    return [block for row in result["events"] for block in event(row)] or [Table((), [], "no events yet")]


def event(row: Row) -> list[Block]:
    return [f"{row['seq']}  {clock(row['at'])}  {row['kind']}  {first(told(row))}"]


def told(row: Row) -> str:
    """What an event says, if it is of a kind that says something; else all of it."""
    payload = row["payload"]
    if not isinstance(payload, dict):
        return str(payload)
    parts = (payload.get("message") or {}).get("content") if isinstance(payload.get("message"), dict) else None
    if isinstance(parts, list):
        return " ".join(_part(part) for part in parts if isinstance(part, dict))
    said = payload.get("result") or payload.get("text") or parts
    return said if isinstance(said, str) else json.dumps(payload, ensure_ascii=False)


def _part(part: Row) -> str:
    if part.get("type") == "tool_use":
        return f"{part.get('name')} {json.dumps(part.get('input'), ensure_ascii=False)}"
    told = part.get("text") or part.get("content") or ""
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def turns(result: Row) -> list[Block]:
    headings = ("NUMBER", "BEGAN (UTC)", "LASTED", "OUTCOME", "TOKENS", "USD", "MODEL", "ERROR")
    return [Table(headings, [_turn(row) for row in result["turns"]], "no turns yet")]


def _turn(row: Row) -> tuple[Cell, ...]:
    begun, ended = row["started_at"], row["ended_at"]
    tokens = f"{row.get('input_tokens', 0)}+{row.get('output_tokens', 0)}"
    outcome, cost = styled(row["outcome"] or "running"), f"{row.get('cost_usd', 0):.4f}"
    told = row.get("model", ""), row.get("error", "")
    return str(row["number"]), clock(begun), lasted(begun, ended), outcome, tokens, cost, *told


def logs(result: Row) -> list[Block]:
    return [result["text"].removesuffix("\n")] if result["text"] else [Table((), [], "the log is empty")]


# ---- approvals


def approvals(result: Row) -> list[Block]:
    headings = ("ID", "KIND", "AGENT", "STATE", "AGE", "BY", "WHY")
    return [Table(headings, [_approval(row) for row in result["approvals"]], "nothing waits for you")]


def _approval(row: Row) -> tuple[Cell, ...]:
    by = row["requested_by"]
    return (
        str(row["id"]),
        row["kind"],
        row["agent"],
        styled(row["state"]),
        age(row["created_at"]),
        by,
        first(row["why"]),
    )


APPROVAL = (
    "id", "kind", "agent", "state", "requested_by", "created_at", "expires_at", "decided_by", "decided_at",
    "decided_from", "reason", "error", "sha", "sha256",
)  # fmt: skip


def approval(row: Row) -> list[Block]:
    """All of it, with nothing hidden: the operator decides by this."""
    content, why = row["content"], row["why"]
    hidden = ["! There are hidden characters in it: they are written out as \\xNN or \\uNNNN."]
    fields = [f"{name:<13} {' '.join(str(row[name]).split())}" for name in APPROVAL if row.get(name)]
    warning = hidden if clean(why + content) != why + content else []
    what = difference(row) if row.get("diff") else [f"content:\n{indented(content)}"]
    happens = [f"what a yes does:\n{indented(row['happens'])}"] if row.get("happens") else []
    return ["\n".join(fields), *warning, f"why:\n{indented(why)}", *what, *happens]


MARKS = {"add": "+", "del": "-", "hunk": "@", "ctx": " "}


def difference(row: Row) -> list[Block]:
    """What is applied against what would be, and what that means."""
    lines = [_line(line) for line in row.get("diff", ())]
    changes = row.get("changes") or ["no setting: only the text"]
    return [f"settings that change:\n{indented(chr(10).join(changes))}", "difference:\n" + "\n".join(lines)]


def _line(line: Row) -> str:
    old, new = line.get("old") or "", line.get("new") or ""
    return f"    {old!s:>4} {new!s:>4} {MARKS.get(line['kind'], '?')} {line['text']}"


def history(result: Row) -> list[Block]:
    rows: list[tuple[Cell, ...]] = [
        (row["rev"][:12], clock(row["at"]), row["by"], first(row["message"])) for row in result["history"]
    ]
    return [Table(("REV", "TIME (UTC)", "BY", "MESSAGE"), rows, "nothing was applied yet")]


def decided(row: Row) -> list[Block]:
    return [f"#{row['id']} {row['kind']} {row['agent']}: {row['state']}"]


# ---- what is looked up


def found(result: Row) -> list[Block]:
    return [hit(row) for row in result["hits"]] or [Table((), [], "nothing matches")]


def hit(row: Row) -> str:
    return f"{row['kind']}  {row['title']}  {clock(row['at'])}\n{indented(first(row['text']))}"


def left_open(result: Row) -> Iterator[str]:
    """What was not looked through, as sentences."""
    if (events := result["events"]) and events["on"]:
        yield f"{events['looked']} events were looked through, back to {clock(events['back_to'])} UTC: --all goes on"
    if result["behind"]:
        yield "the words of the newest messages are still being taken in"


def nothing(result: Row) -> list[Block]:
    return []


def acts(result: Row) -> list[Block]:
    rows: list[tuple[Cell, ...]] = [
        (str(row["id"]), clock(row["at"]), row["by"], row["verb"], row["target"], row["where"], first(row["words"]))
        for row in result["acts"]
    ]
    return [Table(("ID", "TIME (UTC)", "WHO", "DID", "TO", "FROM", ""), rows, "nothing was done yet")]


# ---- the hive


def link(result: Row) -> list[Block]:
    return [result["url"]]


def users(result: Row) -> list[Block]:
    rows: list[tuple[Cell, ...]] = [
        (row["name"], row["role"] or "none", f"{age(row['last_login'])} ago" if row["last_login"] else "never")
        for row in result["users"]
    ]
    return [Table(("USER", "ROLE", "SIGNED IN"), rows)]


def user(row: Row) -> list[Block]:
    return [
        f"{row['name']}: {row['role']}; `hive link {row['name']}` signs in"
        if "role" in row
        else f"{row['name']}: removed"
    ]


def muted(row: Row) -> list[Block]:
    where = ", ".join(row["targets"]) or "nowhere"
    how = (
        f"muted until {clock(row['muted_until'])} UTC, by {row['by']}"
        if row["muted_until"]
        else f"what waits is told: {where}"
    )
    return [how, *(f"{one['target']} failed {one['attempt']} times: {one['error']}" for one in row["failing"])]


def told_outside(result: Row) -> list[Block]:
    return [f"{row['target']}: {row['error'] or 'told'}" for row in result["told"]]


def version(result: Row) -> list[Block]:
    runs = result["runs"]
    if not runs:
        return [f"hyperhive {result['version']}, no hive runs"]
    other = "" if runs["version"] == result["version"] else f" {runs['version']}"
    return [
        f"hyperhive {result['version']}",
        f"the hive that runs{other}: driver {runs['driver']}, isolation level {runs['level']}, pages on {runs['bind']}",
    ]


def vacuumed(result: Row) -> list[Block]:
    return [f"{result['deleted']} messages removed"]


def backed_up(result: Row) -> list[Block]:
    return [f"{result['path']} ({result['bytes']} bytes)"]


def restored(result: Row) -> list[Block]:
    kept = [f"what was there before is kept in {result['aside']}"] if result["aside"] else []
    return [f"{result['restored']} is the hive's database now", *kept, "`hive serve` starts with it"]
