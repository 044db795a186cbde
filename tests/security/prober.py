"""What a hostile agent tries, run as an agent's payload: `python -I prober.py RUN`. Only the standard library is there.

It dials RUN/probe.sock, takes {"probe", "with"} a line and answers {"gained", "why"}: `gained` is what the attempt got, null
when it got nothing, and `why` what was said instead.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS = 0x10000000, 0x00020000
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
GETFLAGS, SETFLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10


class No(Exception):
    """The attempt got nothing."""


def libc(name, *args):
    result = getattr(LIBC, name)(*args)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def mknod(state):
    """A device node that can be read: /dev/zero by another name, wherever one can write."""
    for directory in (state, "/tmp", "/dev/shm", "/root"):
        path = os.path.join(directory, "device")
        with contextlib.suppress(OSError):
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            try:
                with open(path, "rb") as file:
                    return f"{path}: {len(file.read(9))} bytes"
            finally:
                os.unlink(path)
    raise No("mknod gave no device")


def mount(state):
    """Something else in the place of what is there: by a plain mount, or one into the host's own /usr from a nested namespace."""
    place = os.path.join(state, "mounted")
    os.makedirs(place, exist_ok=True)
    try:
        libc("mount", b"tmpfs", place.encode(), b"tmpfs", 0, None)
    except OSError as error:
        return nested(error)
    libc("umount2", place.encode(), 2)
    return place


def nested(plain):
    """A user namespace may well be had; it must not make what is the host's writable."""
    try:
        libc("unshare", NEWUSER | NEWNS)
        remount, bind = 32, 4096
        libc("mount", b"none", b"/usr", None, remount | bind, None)
        with open("/usr/written", "w"):
            return "/usr is writable"
    except OSError as error:
        raise No(f"{plain}; nested: {error}") from None


def setuid(state):
    """A file that makes who runs it its owner."""
    path = os.path.join(state, "setuid")
    shutil.copy("/usr/bin/id", path)
    os.chmod(path, 0o6755)
    return path


def chattr(state):
    """A file that not even root removes."""
    path = os.path.join(state, "immutable")
    with open(path, "w") as file:
        flags = struct.unpack("l", fcntl.ioctl(file, GETFLAGS, struct.pack("l", 0)))[0]
        fcntl.ioctl(file, SETFLAGS, struct.pack("l", flags | IMMUTABLE))
    return path


def abstract(name):
    return dialled(socket.AF_UNIX, "\0" + name)


def tcp(host, port):
    with socket.create_connection((host, port), 3) as door:
        return door.recv(100).decode()


def unix(paths):
    """The first of these sockets that answers."""
    return first(paths, lambda path: dialled(socket.AF_UNIX, path))


def read(paths):
    return first(paths, lambda path: open(path).read())


def dialled(family, address):
    with socket.socket(family) as door:
        door.settimeout(3)
        door.connect(address)
        return door.recv(100).decode()


def first(paths, attempt):
    """By its own name, and by whatever else might lead to the host's tree."""
    said = []
    for path in paths:
        for way in (path, f"/proc/1/root{path}", f"/proc/self/cwd/..{path}", f"/proc/{os.getppid()}/root{path}"):
            try:
                return attempt(way)
            except OSError as error:
                said.append(str(error))
    raise No("; ".join(dict.fromkeys(said)))


def write_same(path):
    """A setting of the host's kernel, overwritten with what it says already."""
    with open(path) as file:
        text = file.read()
    chosen = text[text.index("[") + 1 : text.index("]")] if "[" in text else text
    with open(path, "w") as file:
        file.write(chosen)
    return path


def ptrace(pid, marker):
    is_it(pid, marker)
    libc("ptrace", PTRACE_ATTACH, pid, None, None)
    os.waitpid(pid, 0x40000000)
    libc("ptrace", PTRACE_DETACH, pid, None, None)
    return f"attached to {pid}"


def kill(pid, marker):
    is_it(pid, marker)
    os.kill(pid, signal.SIGTERM)
    return f"signalled {pid}"


def is_it(pid, marker):
    """Whether that process, or any other that is seen, is the one outside."""
    with open(f"/proc/{pid}/cmdline") as file:
        if marker not in file.read():
            raise No(f"{pid} is another one here")


def seen(marker):
    """What can be seen of the processes outside."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            if marker in file.read():
                return pid
    raise No("nothing of it in /proc")


def forks(most):
    """How many children could be had, with as many as `most` wanted."""
    pids = []
    try:
        for _ in range(most):
            pids.append(os.fork())
            if not pids[-1]:
                signal.pause()
                os._exit(0)
    except BlockingIOError as error:
        raise No(f"{len(pids)}: {error}") from None
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
    return str(len(pids))


def memory(most):
    """Whether a child could have that many bytes, each page of them written to."""
    pid = os.fork()
    if not pid:
        held = []
        for _ in range(most >> 20):
            held.append(bytearray(os.urandom(4096)) * 256)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if status:
        raise No(f"ended with {status}")
    return str(most)


def disk(place, most):
    """Whether `most` bytes could be put there, in files of 16 MiB."""
    paths = [os.path.join(place, f"filling-{number}") for number in range(most >> 24)]
    had = 0
    try:
        for path in paths:
            with open(path, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 1 << 24)
            had += 1 << 24
        return str(had)
    except OSError as error:
        raise No(f"{had}: {error}") from None
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)


def log(most):
    """Whether so many bytes could be said to its log, which lies on the host."""
    said, words = 0, b"\n" * (1 << 20)
    try:
        while said < most:
            said += os.write(1, words)
        return str(said)
    except OSError as error:
        raise No(f"{said}: {error}") from None


PROBES = {
    probe.__name__: probe
    for probe in (
        mknod, mount, setuid, chattr, abstract, tcp, unix, read, write_same, ptrace, kill, seen, forks, memory, disk, log,
    )
}  # fmt: skip


def tried(probe, params):
    """In a child, for an attempt may change what runs it, or end it."""
    there, here = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(there)
        try:
            answer = {"gained": PROBES[probe](**params), "why": ""}
        except (OSError, No) as error:
            answer = {"gained": None, "why": str(error)}
        os.write(here, json.dumps(answer).encode())
        os._exit(0)
    os.close(here)
    with open(there, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said or b'{"gained": null, "why": "it was ended"}')


def main(run):
    door = socket.socket(socket.AF_UNIX)
    while True:
        with contextlib.suppress(OSError):
            door.connect(os.path.join(run, "probe.sock"))
            break
        time.sleep(0.05)
    with door.makefile("rwb") as lines:
        for line in lines:
            asked = json.loads(line)
            lines.write(json.dumps(tried(asked["probe"], asked["with"])).encode() + b"\n")
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1])
