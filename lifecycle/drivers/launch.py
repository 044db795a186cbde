"""Starts one agent so that it outlives us: run as `python -I -S launch.py`, the order as JSON on stdin. Only the stdlib.

A process of its own, because the daemon has threads and must not fork; a double fork, because the agent must be nobody's
child, so that one code path serves before and after a restart of the daemon. Exit 0: it runs and run.json names it;
1: it ended at once, the log says why; 75: another one holds run.lock.
"""

import fcntl
import json
import os
import resource
import subprocess
import sys
import time

# Seconds for the child to say that it is there.
PATIENCE = 10.0
# Above everything else of the host, where memory runs out (proc(5), oom_score_adj).
EXPENDABLE = "300"
# A log longer than this is put aside when the next run begins.
LOG_MOST = 8 * 1024 * 1024


def identity(pid):
    """{"pid", "start"} of a process that lives; start is in clock ticks since boot (proc(5), stat field 22)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else {"pid": pid, "start": int(fields[19])}


def write_atomic(path, content):
    with open(path + ".new", "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    fd = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def locked(fd):
    """True when the lock is ours. Somebody who asks whether it is held has it for a moment, so once is not enough."""
    for _ in range(20):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
    return False


def open_log(path):
    if os.path.exists(path) and os.path.getsize(path) > LOG_MOST:
        os.replace(path, path + ".1")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def started(order, status, lock, log):
    """The process, and its child's pid as it wrote it to the status file; None when it ended before that."""
    argv = [word.replace("{STATUS}", str(status)).replace("{LOCK}", str(lock)) for word in order["argv"]]
    process = subprocess.Popen(
        argv,
        env=order["env"],
        cwd=order["cwd"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(status, lock),
    )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        line, newline, _ = os.pread(status, 4096, 0).partition(b"\n")
        if newline:
            return process, json.loads(line).get("child-pid")
        if process.poll() is not None:
            return process, None
        time.sleep(0.005)
    process.kill()
    return process, None


def main():
    order = json.load(sys.stdin)
    place = order["dir"]
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Read-only, for the agent inherits it: as long as one process of the agent lives, the lock is held. Opened first, for
    # nspawn hands down descriptor 3 alone.
    lock = os.open(place + "/run.lock", os.O_RDONLY | os.O_CREAT, 0o600)
    if not locked(lock):
        return 75
    for stale in ("run.json", "status.jsonl"):
        if os.path.exists(place + "/" + stale):
            os.unlink(place + "/" + stale)
    status = os.open(place + "/status.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    log = open_log(place + "/log")
    middle = os.fork()
    if middle:
        return os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1])
    os.setsid()
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(EXPENDABLE)
    process, child = started(order, status, lock, log)
    if child is None:
        os._exit(1)
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    record = {"boot": boot, "outer": identity(process.pid), "init": identity(child), "at": time.time()}
    write_atomic(place + "/run.json", record | {"fingerprint": order["fingerprint"]})
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
