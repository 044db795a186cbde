"""The console script: `hive VERB` is `manage.py hive VERB`."""

import os
import sys

# Verbs that are a hive themselves, work where none runs, or look at what one needs. All others only ask the one that runs:
# without its apps they start in half the time, and need no state directory.
WHOLE = {"serve", "restore", "doctor"}


def settings_for(argv: list[str]) -> str:
    """The settings module for `hive` with these arguments."""
    verb = next((word for word in argv if not word.startswith("-")), "")
    return "hyperhive.settings" if verb in WHOLE else "hyperhive.cli.settings"


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_for(argv))
    from django.core.management import execute_from_command_line

    execute_from_command_line(["hive", "hive", *argv])
