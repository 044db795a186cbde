"""Stands above one agent as bwrap stands above its sandbox: `python -I -S monitor.py STATUS LOCK FIRST ARGV`, only the stdlib.

Whatever the agent leaves behind becomes our child (prctl(2), PR_SET_CHILD_SUBREAPER), so that we can end all of it; so does
the agent itself when its nspawn is killed. Writes the same two lines to the status file that `bwrap --json-status-fd` writes.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
PROPAGATE = "/run/systemd/nspawn/propagate/"
# linux/pidfd.h, from Linux 6.15 on. Before, only a process's parent learns what killed it, and nspawn says 1 of that.
PIDFD_GET_INFO, PIDFD_INFO, PIDFD_INFO_EXIT = 0xC040FF0B, "=QQ11Ii", 1 << 3


def say(status, **fact):
    os.write(status, json.dumps({key.replace("_", "-"): value for key, value in fact.items()}).encode() + b"\n")


def end_of(pid):
    """The exit code of our own child, in the shell's way; everybody else who ends meanwhile is reaped."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_the_rest():
    """Kill our children until none is left: each that ends hands us its own."""
    me = os.getpid()
    while True:
        with open(f"/proc/{me}/task/{me}/children") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


# ---- the agent's first process ----------------------------------------------------------------------------------------


def itself(pid, argv):
    return pid


def inner(nspawn, argv):
    """The first process of nspawn's PID namespace, once it is the agent's and no more nspawn; None when there never was one."""
    seen = None
    while os.waitid(os.P_PID, nspawn, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for pid in below(nspawn):
            with contextlib.suppress(OSError):
                if depth(pid) > depth("self"):
                    seen = seen or pid
                    # Mounted inside by now, and used by machined alone. Where /run is a disk, nspawn would leave it behind.
                    with contextlib.suppress(FileNotFoundError):
                        os.rmdir(PROPAGATE + next(word[10:] for word in argv if word.startswith("--machine=")))
                    if not os.path.samefile(f"/proc/{pid}/exe", f"/proc/{nspawn}/exe"):
                        return pid
        time.sleep(0.002)
    return seen


def below(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        for child in map(int, file.read().split()):
            yield child
            yield from below(child)


def depth(pid):
    """In how many PID namespaces it is (proc(5), NSpid)."""
    with open(f"/proc/{pid}/status") as file:
        return next(len(line.split()) for line in file if line.startswith("NSpid:"))


def opened(pid):
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)


def killed(pidfd):
    """The exit code of a process that a signal ended and that is not our child; 0 when none did, or nobody tells."""
    try:
        told = fcntl.ioctl(pidfd, PIDFD_GET_INFO, struct.pack(PIDFD_INFO, PIDFD_INFO_EXIT, *[0] * 13))
    except (OSError, TypeError):
        return 0
    mask, *_, status = struct.unpack(PIDFD_INFO, told)
    number = status & 0x7F if mask & PIDFD_INFO_EXIT else 0
    return 128 + number if number else 0


# ---- how it begins ----------------------------------------------------------------------------------------------------


def plainly():
    os.setsid()
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)


def holding_the_lock():
    """nspawn closes all but what it is given as sd_listen_fds(3) has it: from 3 on, which is what launch.py opens first."""
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    plainly()


FIRST = {"itself": (itself, plainly), "inner": (inner, holding_the_lock)}


def main(status, lock, first, argv):
    find, begin = FIRST[first]
    os.set_inheritable(status, False)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    outer = subprocess.Popen(argv, pass_fds=(lock,), preexec_fn=begin)  # no threads here
    pid = find(outer.pid, argv)
    if pid is None:
        return end_of(outer.pid)
    pidfd = opened(pid)
    say(status, child_pid=pid)
    code = end_of(outer.pid)
    end_the_rest()
    code = killed(pidfd) or code
    say(status, exit_code=code)
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
