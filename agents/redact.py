"""Keys that somebody printed by accident, taken out of what is stored. An agent that means to hide one can: this is no wall.

No pattern goes back over what it has passed, so the longest hostile text costs what an honest one of its length does.
"""

import json
import re
from functools import partial
from typing import Any, NamedTuple


class Shape(NamedTuple):
    """`hints` are looked for first, by plain search: most text has none of them and costs no more."""

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


# Possessive (++, *+): a match that fails behind a long run is not tried again with less of it.
_JWT = r"eyJ[\w-]*+(?:\.eyJ[\w-]*+\.[\w-]*+)?+"
_PEM = (
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    # What a key's lines consist of, with the numbers and arrows of a reader and the \n of a program's text.
    r"(?:(?!-----)[A-Za-z0-9+/=\s\\:,.\-|→])*+(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?+"
)
SHAPES = (
    Shape("private key", ("PRIVATE KEY",), re.compile(_PEM)),
    Shape("Anthropic key", ("sk-ant-",), re.compile(r"sk-ant-[\w-]{8,}+")),
    Shape("OpenAI key", ("sk-proj-", "sk-svcacct-"), re.compile(r"sk-(?:proj|svcacct)-[\w-]{20,}+")),
    Shape("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"gh[pousr]_[A-Za-z0-9]{20,}+")),
    Shape("GitHub token", ("github_pat_",), re.compile(r"github_pat_\w{20,}+")),
    Shape("GitLab token", ("glpat-",), re.compile(r"glpat-[\w-]{16,}+")),
    Shape("AWS key", ("AKIA", "ASIA"), re.compile(r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])")),
    Shape("Google key", ("AIza",), re.compile(r"AIza[\w-]{35}")),
    Shape("Slack token", ("xox", "xapp-"), re.compile(r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}+")),
    # The first run of an unsigned text is passed as a whole, a token or not.
    Shape("JWT", ("eyJ",), re.compile(_JWT)),
    Shape("bearer token", ("earer ", "EARER "), re.compile(r"(?i:(?<=bearer ))[A-Za-z0-9._~+/=-]{16,}+")),
)
HINTS = tuple({hint for shape in SHAPES for hint in shape.hints})
# What only looks like one, such as words about keys, stays: a key's lines, two dots and some length, a digit.
PROOF = {
    "private key": re.compile(r"-----[^-]*+-----(?s:.*?)[A-Za-z0-9+/=]{24}"),
    "JWT": re.compile(r"(?=.{30})[^.]*+\.[^.]*+\."),
    "bearer token": re.compile(r"\D*+\d"),
}


def redacted(value: Any) -> Any:
    """The value, any JSON, with each key in its texts replaced by `[redacted: what it was]`."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _walked(value) if any(hint in text for hint in HINTS) else value


def _walked(value: Any) -> Any:
    if isinstance(value, str):
        return _cleared(value)
    if isinstance(value, dict):
        return {_cleared(key): _walked(item) for key, item in value.items()}
    return [_walked(item) for item in value] if isinstance(value, list) else value


def _cleared(text: str) -> str:
    for shape in SHAPES:
        if any(hint in text for hint in shape.hints):
            text = shape.pattern.sub(partial(_word, shape.name), text)
    return text


def _word(name: str, match: re.Match[str]) -> str:
    """What stands in its place."""
    found, proof = match[0], PROOF.get(name)
    return f"[redacted: {name}]" if proof is None or proof.match(found) else found
