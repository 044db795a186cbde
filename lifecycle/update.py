"""Auto-update: what was made by an older hyperhive, from an older configuration or CLI is made anew, once it runs no turn."""

import logging

from . import drivers
from .drivers import DriverError
from .models import Container

log = logging.getLogger("hive.lifecycle")


def auto() -> list[str]:
    """Every running container that is stale, each fingerprint tried once: what it failed with then it would fail with again."""
    return [row.name for row, wanted in stale() if row.tried != wanted and soon(row, wanted)]


def stale() -> list[tuple[Container, str]]:
    """Those that run and would be made otherwise now, with the fingerprint that they would have."""
    found = []
    for row in Container.running().filter(op=""):
        try:
            driver, spec = drivers.driver(row.driver), row.spec()
            now, wanted = driver.status(row.name), driver.fingerprint(spec)
            known = driver.known_to_fail(spec)
        except DriverError as error:
            log.warning("%s cannot be checked for staleness: %s", row.name, error)
            continue
        if now.running and now.fingerprint != wanted and not known:
            found.append((row, wanted))
    return found


def soon(row: Container, wanted: str = "") -> bool:
    """Rebuild it now when it is idle, else as soon as it is (lifecycle/work.py looks every two seconds)."""
    if not row.rebuild_when_idle(tried=wanted):
        Container.objects.filter(pk=row.pk, incarnation=row.incarnation, op="").update(due=True, tried=wanted)
    return True
