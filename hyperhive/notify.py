"""What systemd hears of the daemon: that it is ready, lives, or stops (sd_notify(3)). Without systemd nobody listens."""

import contextlib
import os
import socket


def notify(*words: str) -> None:
    """Say `READY=1` and the like, in one datagram. A word that does not get through is no reason to fail."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place  # @: an abstract socket
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.setblocking(False)
        door.sendto("\n".join(words).encode(), address)


def heartbeat() -> float | None:
    """Seconds between two signs of life, half of what systemd waits for one; None when it waits for none of ours."""
    wanted, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or whose not in ("", str(os.getpid())):
        return None
    return int(wanted) / 2e6
