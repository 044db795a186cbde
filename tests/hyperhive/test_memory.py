import asyncio
import contextlib
import ctypes
import subprocess
import sys

import psutil
import pytest
from django.conf import LazySettings

from hyperhive import daemon, memory

# Pools of a process in which another thread has asked for memory; said by malloc_info(3).
POOLS = """
import ctypes, threading
from hyperhive import memory
{}
libc = ctypes.CDLL(None)
thread = threading.Thread(target=lambda: libc.malloc(1000))
thread.start()
thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library")
BLOCK, BLOCKS = 64 * 1024, 640


def pools(first: str) -> int:
    code = POOLS.format(first)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout.count("<heap nr=")


@glibc
def test_all_threads_share_one_pool() -> None:
    assert (pools(""), pools("memory.one_pool()")) == (2, 1)


def test_the_daemon_sees_to_that_first(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> None:
    seen: list[int] = []
    monkeypatch.setattr(memory, "one_pool", lambda: seen.append(1))
    settings.HIVE_BIND = ""

    assert daemon.serve("no address") == 2
    assert seen


@glibc
def test_what_was_freed_below_what_is_in_use_goes_back_to_the_machine() -> None:
    libc, resident = ctypes.CDLL(None), lambda: psutil.Process().memory_info().rss
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    memory.give_back()
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    # The last one stays, or what is above everything in use would go back by itself.
    for block in blocks[:-1]:
        libc.free(block)
    before = resident()
    memory.give_back()
    given = before - resident()
    libc.free(blocks[-1])

    assert given > BLOCK * BLOCKS * 0.8


def test_the_daemon_does_so_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(daemon, "MEMORY", 0.001)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))

    async def some() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await daemon.Hive._memory(None)  # type: ignore[arg-type]

    asyncio.run(some())

    assert len(given) >= 3
