#!/usr/bin/env python
"""Django's front door; `manage.py hive VERB` is hyperhive's."""

import os
import sys

from hyperhive import cli

if __name__ == "__main__":
    if sys.argv[1:2] == ["hive"]:
        cli.main(sys.argv[2:])
    else:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hyperhive.settings")
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
