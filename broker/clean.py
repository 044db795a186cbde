"""What an agent wrote, safe to show: characters that hide, reorder or steer become visible tokens."""

import re
import unicodedata

# Controls, formats (bidi, zero width), surrogates, private use, line and paragraph separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_PLAIN = re.compile(r"[\t\n\x20-\x7e]*")


def clean(text: str) -> str:
    """That text with every unseen character but newline and tab written out as \\xNN, \\uNNNN or \\UNNNNNNNN."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(char if char in "\n\t" else _token(char) for char in text)


def _token(char: str) -> str:
    if unicodedata.category(char) not in _UNSEEN:
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def fenced(text: str) -> str:
    """A block of Markdown that no backtick within it can end."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
