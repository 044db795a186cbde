"""The container's settings: the journal's database and the three apps that a slim harness needs, nothing of the host."""

import os
import secrets
from pathlib import Path

HIVE_JOURNAL = Path(os.environ.get("HIVE_JOURNAL") or "/var/lib/hive")
# The host vacuums; here only so that the model's method finds it.
HIVE_MESSAGE_RETENTION_DAYS = 30

# Nothing is signed here: a key that nothing outlives.
SECRET_KEY = secrets.token_urlsafe(48)
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["broker", "agents", "harness"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HIVE_JOURNAL / "journal.sqlite3",
        "OPTIONS": {
            # FULL: an event is on disk before the host hears of it, so its number is never given twice.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=16777216",
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
        },
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"hive": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
