"""The failure table and the slimness of what runs it."""

import subprocess
import sys

from harness.attempt import LEASE, RENEW
from harness.outcome import API_ERRORS, REASONS, STATUSES, SUBTYPES
from harness.turns import FAILURES

from .conftest import PROJECT


def test_every_code_that_a_run_can_end_with_is_in_the_table() -> None:
    codes = {*API_ERRORS.values(), *STATUSES.values(), *SUBTYPES.values(), *REASONS.values(), "overloaded", "crashed"}
    assert codes <= set(FAILURES)


def test_every_failure_says_a_sentence_and_what_becomes_of_its_messages() -> None:
    for code, failure in FAILURES.items():
        assert failure.sentence, code
        assert failure.how in ("retry", "hold", "dead", "nothing")
        assert len(code) <= 20, "the column's width"
        # What is held or tried again at once would be a storm.
        assert failure.rest or failure.how in ("dead", "nothing")


def test_a_lease_outlives_several_renewals() -> None:
    assert LEASE > 3 * RENEW


def test_the_harness_loads_nothing_of_the_host() -> None:
    code = (
        "import django, sys; django.setup(); import harness.process, harness.management.commands.harness\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    env = {"DJANGO_SETTINGS_MODULE": "harness.settings", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=env, capture_output=True, text=True, check=True
    )
    for heavy in ("mcp", "channels", "daphne", "pydantic", "huey", "git", "psutil", "rich", "hyperhive", "lifecycle"):
        assert f"'{heavy}'" not in done.stdout
