"""The drivers: how a container is made real. Each has the same verbs, every one of them harmless when repeated.

probe prepare start stop kill status update destroy list logs wait watch (driver.py says what each of them means)
"""

from .bwrap import Bwrap
from .driver import Driver
from .local import Local
from .nixos import Nixos
from .nspawn import Nspawn
from .process import Process
from .spec import DriverError, Spec, Status

__all__ = ["DRIVERS", "Driver", "DriverError", "Local", "Spec", "Status", "choose", "driver"]

# The best first.
DRIVERS: dict[str, Driver] = {
    "nixos": Nixos(),
    "nspawn": Nspawn(),
    "bwrap": Bwrap(),
    "process": Process(),
}


def driver(name: str) -> Driver:
    if name not in DRIVERS:
        raise DriverError(f"No driver is called {name!r}. There are: {', '.join(DRIVERS)}.")
    return DRIVERS[name]


def choose(wanted: str = "") -> str:
    """The driver that was asked for, or the best that works here; DriverError when it does not work."""
    if wanted:
        if missing := driver(wanted).probe():
            raise DriverError(missing)
        return wanted
    return next(name for name, candidate in DRIVERS.items() if candidate.by_default() and not candidate.probe())
