"""What running agents use of the machine: processor, memory and disk, looked at now and then and kept for a while in memory.

Of a container that has a control group of its own the kernel has counted; else the processes below its first are added up.
"""

import contextlib
import os
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import NamedTuple

import psutil

from broker.events import publish

from . import notes, paths
from .models import Container

EVERY = 10.0  # seconds between two looks
SHARE = 1 / 200  # of the time: with many agents it is looked more seldom
KEPT = 180  # samples: half an hour, or longer
DISK_EVERY = 30  # samples between two looks at the disk
CGROUPS = Path("/sys/fs/cgroup")


class Sample(NamedTuple):
    """At a time in seconds since 1970: processor seconds spent so far, bytes of memory, bytes of notes, processes."""

    at: float
    cpu: float
    memory: int
    disk: int
    processes: int


RINGS: dict[str, deque[Sample]] = defaultdict(lambda: deque(maxlen=KEPT))


def look() -> float:
    """One sample of each agent that runs; those that are gone are forgotten. Seconds until the next look."""
    begun = time.monotonic()
    rows = Container.objects.exclude(status=Container.Status.DESTROYED)
    if running := list(rows.filter(status=Container.Status.RUNNING)):
        children = processes()
        for row in running:
            if pid := row.now().pid:
                add(row.name, pid, children)
    for name in set(RINGS).difference(rows.values_list("name", flat=True).iterator()):
        del RINGS[name]
    publish("vitals")
    return max(EVERY, (time.monotonic() - begun) / SHARE)


def add(name: str, pid: int, children: dict[int, list[psutil.Process]]) -> None:
    ring = RINGS[name]
    spent = by_cgroup(pid) or by_process(pid, children)
    if spent:
        old = ring[-1].disk if ring and len(ring) % DISK_EVERY else None
        ring.append(Sample(time.time(), *spent[:2], notes.disk(name) if old is None else old, spent[2]))


def processes() -> dict[int, list[psutil.Process]]:
    """Every process by its parent: read once, however many agents there are."""
    found: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter(["ppid"]):
        found[process.info["ppid"]].append(process)
    return found


def by_process(pid: int, children: dict[int, list[psutil.Process]]) -> tuple[float, int, int] | None:
    cpu, memory, count = 0.0, 0, 0
    waiting = [pid]
    while waiting:
        top = waiting.pop()
        waiting += [child.pid for child in children.get(top, ())]
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(top)
            times = process.cpu_times()
            # With what its children that ended had spent, or a short-lived one would count for nothing.
            cpu += sum(times[:4])
            memory += process.memory_info().rss
            count += 1
    return (cpu, memory, count) if count else None


def by_cgroup(pid: int) -> tuple[float, int, int] | None:
    """Of the second version's control group (docs.kernel.org, cgroup-v2), unless it is the one that we are in too."""
    own = group("self")
    if not (theirs := group(str(pid))) or theirs == own or own.startswith(theirs.rstrip("/") + "/"):
        return None
    place = CGROUPS / theirs.lstrip("/")
    try:
        spent = dict(line.split() for line in (place / "cpu.stat").read_text().splitlines())
        memory = int((place / "memory.current").read_text())
        count = int((place / "pids.current").read_text())
    except (OSError, ValueError):
        return None
    return int(spent["usage_usec"]) / 1e6, memory, count


def group(pid: str) -> str:
    """The path of a process's group, '' when there is none that tells something."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            if line.startswith("0::/") and line != "0::/" and ".." not in line:
                return line[3:]
    return ""


# ---- what the samples say ---------------------------------------------------------------------------------------------


class Series(NamedTuple):
    """The latest value and the run of them, oldest first; `most` is where a meter would end, 0 for nowhere."""

    now: float
    values: list[float]
    most: float


def cpu(name: str) -> Series:
    """Percent of one processor, between each two looks."""
    ring = list(RINGS.get(name, ()))
    values = [
        100 * max(0.0, later.cpu - earlier.cpu) / max(later.at - earlier.at, 0.001)
        for earlier, later in zip(ring, ring[1:], strict=False)
    ]
    return Series(values[-1] if values else 0.0, values, 100.0 * (os.cpu_count() or 1))


def memory(name: str, most: float = 0) -> Series:
    values = [float(sample.memory) for sample in RINGS.get(name, ())]
    return Series(values[-1] if values else 0.0, values, most or float(psutil.virtual_memory().total))


def disk(name: str) -> Series:
    values = [float(sample.disk) for sample in RINGS.get(name, ())]
    room = 0.0
    with contextlib.suppress(OSError):
        room = float(psutil.disk_usage(str(paths.state_dir(name))).total)
    return Series(values[-1] if values else 0.0, values, room)


def count(name: str) -> int:
    ring = RINGS.get(name)
    return ring[-1].processes if ring else 0
