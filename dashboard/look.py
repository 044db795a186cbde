"""How a page looks to whoever opens it: cookies that the server reads, so that nothing flashes and nobody has to sign in."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from broker.wire import Refused

YEAR = 365 * 24 * 3600  # seconds

# Cookie without its prefix -> what it is about, and word -> label; the first word is the default.
CHOICES: dict[str, tuple[str, dict[str, str]]] = {
    "theme": ("theme", {"dark": "dark", "light": "light", "system": "as the system has it"}),
    "labels": ("labels", {"leet": "vibec0re", "plain": "plain words"}),
    "times": ("times", {"local": "where you are", "utc": "UTC"}),
    "keys": ("single keys", {"on": "on (? lists them)", "off": "off"}),
}


def look(request: HttpRequest) -> dict[str, Any]:
    """For the templates: theme, labels, times and keys as words, and `choices` for the form."""
    chosen = {name: _chosen(request, name) for name in CHOICES}
    choices = [
        (name, legend, [(word, label, word == chosen[name]) for word, label in words.items()])
        for name, (legend, words) in CHOICES.items()
    ]
    return {"look": chosen | {"choices": choices}}


def _chosen(request: HttpRequest, name: str) -> str:
    words = CHOICES[name][1]
    word = request.COOKIES.get(f"hive_{name}", "")
    return word if word in words else next(iter(words))


def kept(request: HttpRequest, page: str) -> HttpResponse:
    """The choices of the form as cookies, and back to the page it was on."""
    given = {name: request.POST[name] for name in CHOICES if name in request.POST}
    for name, word in given.items():
        if word not in CHOICES[name][1]:
            raise Refused("bad_params", f"There is no {name} {word[:40]!r}.", "unknown_choice")
    response = redirect(page)
    for name, word in given.items():
        response.set_cookie(f"hive_{name}", word, max_age=YEAR, httponly=True, samesite="Strict")
    return response
