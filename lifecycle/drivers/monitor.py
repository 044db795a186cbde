"""Stands above one agent of driver `process` as bwrap stands above its sandbox: `python -I -S monitor.py`, only the stdlib.

Whatever the agent leaves behind becomes our child (prctl(2), PR_SET_CHILD_SUBREAPER), so that we can end all of it. Writes
the same two lines to the status file that `bwrap --json-status-fd` writes.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


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


def main(status, lock, argv):
    os.set_inheritable(status, False)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    agent = subprocess.Popen(argv, pass_fds=(lock,), preexec_fn=_listen_again)  # no threads here
    say(status, child_pid=agent.pid)
    code = end_of(agent.pid)
    end_the_rest()
    say(status, exit_code=code)
    return code


def _listen_again():
    os.setsid()
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
