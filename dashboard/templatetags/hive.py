"""What the templates say of the hive: painted words, clean text, times and states."""

from collections import OrderedDict
from datetime import datetime
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt

from agents.models import STATES
from approvals.models import Approval
from broker.clean import clean as cleaned
from broker.models import OPERATOR, Message
from dashboard import badges, diffs, parts, plots, signs
from dashboard import qr as qrs
from lifecycle import vitals as vitals_
from lifecycle.difference import diff as difference
from lifecycle.models import Container

register = template.Library()

WORDS = {"login": "needs login"}


@register.simple_tag
def leet(word: str, paint: str) -> SafeString:
    """Leet is paint, not text: what is read aloud, searched and copied is the plain word.

    Both are always there, since pieces of pages are shared by everybody who watches; style.css shows one of them.
    """
    return format_html('<span class="paint" aria-hidden="true">{}</span><span class="sr">{}</span>', paint, word)


@register.filter
def clean(text: Any) -> str:
    """Text of an agent, with what hides or reorders made visible. It is escaped like any other."""
    return cleaned(str(text))


# What a request changes, by its number and what it asks for: neither its bytes nor what was applied before ever change.
CHANGES: OrderedDict[tuple[int, str], SafeString] = OrderedDict()


@register.simple_tag
def change(approval: Approval, whole: bool = False) -> SafeString:
    """What it changes: on a card, compared and rendered once; or, on a page of its own, with all the lines it bears."""
    if whole:
        return changed(approval, True, diffs.PAGE)
    key = (approval.pk, approval.sha256)
    if key not in CHANGES:
        CHANGES[key] = changed(approval, False, diffs.CARD)
        while len(CHANGES) > 100:
            CHANGES.popitem(last=False)
    return CHANGES[key]


def changed(approval: Approval, whole: bool, most: int) -> SafeString:
    diff = diffs.shown(difference(approval.before.encode(), approval.content.encode()), most)
    context = {"approval": approval, "whole": whole, "diff": diff, "label": f"Difference of #{approval.pk}"}
    return render_to_string("dashboard/_change.html", context)


@register.filter
def head(message: Message) -> str:
    """The beginning of a body, also where a list did not fetch the whole of it."""
    return cleaned(message.head if hasattr(message, "head") else message.body)


class Markdown(MarkdownIt):
    """Links lead out by http alone: none of an agent's leads into the hive."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 (markdown-it's own name)
        return url.startswith(("http://", "https://"))


# No HTML and no pictures of an agent's.
MARKDOWN = Markdown("commonmark", {"html": False, "linkify": False}).enable("table").disable(["image", "html_block"])
LONGEST = 16 * 1024  # characters: what is longer is shown as it was written


@register.filter
def markdown(text: str) -> SafeString:
    """What an agent wrote, set as Markdown: every character of it is escaped by markdown-it, which makes the tags."""
    text = cleaned(text)
    if len(text) > LONGEST:
        return format_html("<pre>{}</pre>", text)
    return SafeString(
        MARKDOWN.render(text).replace("<a href=", '<a rel="noopener noreferrer nofollow" target="_blank" href=')
    )


@register.simple_tag
def state(word: str) -> SafeString:
    glyph = STATES.get(word, "?")
    return format_html('<span class="st {}"><i aria-hidden="true">{}</i>{}</span>', word, glyph, WORDS.get(word, word))


@register.simple_tag
def word(state: str) -> str:
    return WORDS.get(state, state)


@register.simple_tag
def clock(moment: datetime) -> SafeString:
    """The time of day, in UTC until the browser makes it local."""
    return format_html(TIME, "clock", moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", "", f"{moment:%H:%M:%S}")


@register.simple_tag
def age(moment: datetime, after: str = "") -> SafeString:
    """How long ago, ticking; where no script runs, since when. `after` stands behind the age."""
    since = f"{'at' if after else 'since'} {moment:%H:%M:%S}"
    return format_html(TIME, "age", moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", after, since)


TIME = '<time class="{}" datetime="{}" title="{} UTC" data-after="{}">{}</time>'


@register.filter
def lasted(later: datetime, earlier: datetime) -> str:
    """Between two times, in the largest unit that tells something."""
    seconds = max(0, int((later - earlier).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def thousands(count: int) -> str:
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


@register.filter
def every(seconds: int) -> str:
    """A period: every 10 m, every hour."""
    for unit, size in (("day", 86400), ("hour", 3600), ("m", 60)):
        if seconds >= size:
            count = seconds // size
            return (
                f"every {unit}"
                if count == 1 and unit != "m"
                else f"every {count} {unit if unit == 'm' else unit + 's'}"
            )
    return f"every {seconds} s"


@register.filter
def who(name: str, managers: set[str]) -> str:
    """The colour of a name."""
    return "c-pink" if name == OPERATOR else "c-violet" if name in managers else ""


@register.simple_tag
def left(moment: datetime) -> SafeString:
    """How long until then, ticking; where no script runs, until when."""
    return format_html(TIME, "left", moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", "", f"{moment:%H:%M:%S}")


@register.filter
def size(text: str) -> str:
    """How much is folded away."""
    lines = text.count("\n") + 1
    return f"{lines} lines" if lines > 1 else f"{len(text)} characters"


@register.filter(name="bytes")
def bytes_(count: float) -> str:
    return plots.size(count)


@register.simple_tag
def qr(link: str) -> SafeString | str:
    try:
        return qrs.svg(link)
    except qrs.TooLong as error:
        return str(error)


@register.simple_tag
def meter(part: float, most: float) -> SafeString:
    return plots.meter(part, most)


@register.simple_tag
def plotted(what: str, unit: str, one: vitals_.Series) -> SafeString:
    """The latest value, how much of the most that is, and how it was."""
    if not one.values:
        return format_html('<span class="dim">{}</span>', "not looked at yet")
    words = plots.UNITS[unit]
    least, most = words(min(one.values)), words(max(one.values))
    label = f"{what} in the last half hour: {least} to {most}"
    of = format_html(' <span class="dim">of {}</span>', words(one.most)) if one.most else ""
    return format_html("{}{}{}{}", words(one.now), of, plots.meter(one.now, one.most), plots.line(one.values, label))


@register.inclusion_tag("dashboard/_signs.html")
def vitals(name: str) -> dict[str, Any]:
    return signs.signs(name)


@register.inclusion_tag("dashboard/_counts.html")
def counts(name: str) -> dict[str, Any]:
    return {"name": name, "counts": badges.badges(name)}


@register.inclusion_tag("dashboard/_tabs.html")
def agent_tabs(name: str, tab: str, tabs: list[tuple[str, str, str]]) -> dict[str, Any]:
    """An agent's pages, each with how much there is; what changes it afterwards is a part of its own."""
    found = badges.badges(name)
    return {"tab": tab, "tabs": [(word, paint, address, found.get(word)) for word, paint, address in tabs]}


@register.inclusion_tag("dashboard/_asks.html")
def asks(name: str) -> dict[str, Any]:
    return {"asks": Approval.pending().filter(agent=name)}


@register.inclusion_tag("dashboard/_hero.html")
def hero(name: str) -> dict[str, Any]:
    """An agent's state and what can be done with it; agents' pages know no containers, so they ask here."""
    row = Container.objects.filter(name=name).first()
    inbox = parts.queued().filter(recipient=name).count()
    return {"name": name, "container": parts.container(row, inbox, whole=True) if row else None}
