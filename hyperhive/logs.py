"""How the daemon's log is written: a line to read or a line of JSON; nothing that an agent wrote steers who reads it."""

import json
import logging
from datetime import UTC, datetime

from broker.clean import clean


class Plain(logging.Formatter):
    """A record is one line, whatever its words are; the traceback follows as it is, cleaned."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        return one_line(super().formatMessage(record))

    def formatException(self, ei: tuple) -> str:  # noqa: N802
        return clean(super().formatException(ei))


class Json(logging.Formatter):
    """One object per line, in ASCII: `at`, `level`, `logger`, `message`, and `traceback` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        if record.exc_info:
            said["traceback"] = clean(self.formatException(record.exc_info))
        return json.dumps(said)


def one_line(text: str) -> str:
    return clean(text).replace("\n", "\\n")
