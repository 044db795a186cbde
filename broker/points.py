"""Named places of the host at which a test lets it die: with HIVE_CRASH_AT=NAME it kills itself there, as kill -9 would.

Nothing else hangs on them. A name is `what.step`, and what of it: `.done` after the step, `.within` its transaction.
"""

import os
import signal

CRASH_AT = os.environ.get("HIVE_CRASH_AT", "")


def reached(name: str) -> None:
    if name == CRASH_AT:
        os.kill(os.getpid(), signal.SIGKILL)
