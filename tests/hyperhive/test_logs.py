"""The daemon's log: one record, one line, and nothing in it that steers a terminal."""

import json
import logging

import pytest

from hyperhive.logs import Json, Plain

HOSTILE = "scout said \x1b[2J\u202e%s\n12:00:00 ERROR hive: forged\x00\x9b"


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("hive", logging.WARNING, __file__, 1, message, args, exc_info)


def raised(words: str) -> Exception:
    try:
        raise RuntimeError(words)
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("form", [Plain(), Json()])
def test_a_record_is_one_line_of_harmless_characters(form) -> None:
    line = form.format(record("%s", HOSTILE))
    assert line.isprintable()
    assert "forged" in line


def test_a_line_of_json_has_what_a_program_needs() -> None:
    said = json.loads(Json().format(record("scout: %s", "é", error=raised("bad \x1b[2J"))))
    assert (said["level"], said["logger"], said["message"]) == ("WARNING", "hive", "scout: é")
    assert said["at"].endswith("+00:00")
    assert said["traceback"].endswith("RuntimeError: bad \\x1b[2J")


def test_a_traceback_keeps_its_lines_and_loses_its_teeth() -> None:
    text = Plain().format(record("it failed", error=raised("bad \x1b[2J")))
    first, *rest = text.split("\n")
    assert first.endswith("WARNING hive: it failed")
    assert rest[-1] == "RuntimeError: bad \\x1b[2J"
