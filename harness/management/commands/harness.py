"""`python -P -m django harness`: what a container runs."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from broker.wire import Refused
from harness.config import Misconfigured
from harness.disk import open_journal
from harness.process import serve


class Command(BaseCommand):
    help = "Runs the turns of one agent inside its container; driven by its environment alone."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            open_journal()
            asyncio.run(serve())
        except (Misconfigured, Refused) as error:
            raise CommandError(str(error)) from None
