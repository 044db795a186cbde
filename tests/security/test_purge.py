"""Purging what an agent shaped while the agent goes on shaping it: whatever it swaps in, the victim stays whole."""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lifecycle import holdings, safe_fs
from tests.hives import until

# Swaps one directory of the tree for a link to the victim and back, as fast as it goes.
SWAPPER = textwrap.dedent("""
    import os, sys
    place, victim = sys.argv[1:]
    os.symlink(victim, place + ".link")
    print("going", flush=True)
    while True:
        away, link = place + ".away", place + ".link"
        for one, other in ((place, away), (link, place), (place, link), (away, place)):
            try:
                os.rename(one, other)
            except OSError:
                pass
""")
# Purges until it is killed.
PURGER = "import sys; from pathlib import Path; from lifecycle import safe_fs; safe_fs.purge(Path(sys.argv[1]))"
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def victim(tmp_path):
    victim = tmp_path / "victim"
    (victim / "sub").mkdir(parents=True)
    for place in (victim, victim / "sub"):
        for number in range(20):
            (place / f"precious-{number}").write_text("all of it")
    (victim / "big").write_bytes(bytes(1 << 20))
    before = facts(victim)
    yield victim
    assert facts(victim) == before


def facts(root: Path) -> list[tuple[str, int, int, int, int]]:
    found = [(path, path.lstat()) for path in sorted(root.rglob("*"))]
    return [(str(path), one.st_mode, one.st_uid, one.st_nlink, one.st_size) for path, one in found]


def tree(root: Path, width: int = 8) -> Path:
    for number in range(width):
        (root / f"d{number}" / "inner").mkdir(parents=True)
        for name in range(10):
            (root / f"d{number}" / "inner" / f"f{name}").write_text("x")
    return root


@pytest.mark.parametrize("where", ["d0", "d4/inner", "d7"])
def test_twenty_swaps_of_a_directory_for_a_link_leave_the_victim_whole(tmp_path, victim, where):
    for turn in range(20):
        root = tree(tmp_path / "agents" / f"scout{turn}")
        argv = [sys.executable, "-I", "-c", SWAPPER, root / where, victim]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as swapper:
            swapper.stdout.readline()
            # What is moved about meanwhile may be missed by one round: a purge is begun again until nothing is left.
            for _ in range(50):
                with contextlib.suppress(OSError):
                    safe_fs.purge(root)
                if not os.listdir(root.parent):
                    break
            swapper.kill()
        with contextlib.suppress(FileNotFoundError):
            safe_fs.purge(root)
        assert not root.exists()


def test_a_purge_that_is_killed_in_the_middle_is_finished_by_the_next(tmp_path, victim):
    for turn in range(5):
        root = tree(tmp_path / "agents" / f"scout{turn}", width=400)
        (root / "out").symlink_to(victim)
        before = sum(1 for _ in root.rglob("*"))
        env = os.environ | {"PYTHONPATH": str(PROJECT)}
        with subprocess.Popen([sys.executable, "-c", PURGER, root], cwd="/", env=env) as purger:
            until(lambda here=root: not here.exists(), "it is moved aside")
            purger.send_signal(signal.SIGKILL)
        assert 0 < sum(1 for _ in root.parent.rglob("*")) <= before + 1
        assert safe_fs.purge(root)
        assert os.listdir(root.parent) == []


# ---- trees -------------------------------------------------------------------------------------------------------------
# Each makes a tree below a directory that an agent filled; `victim` is what it would have us hurt.

DEEP, MANY = 10_000, 5_000
STRANGE = (
    b"line\nbreak", b"\xff\xfe\x80", b"x" * 255, b"-rf", b"*", b" ", b"\x1b[2J", b"..." , "‮gpj".encode(), b"'; rm -rf ~; '",
    b".trash.scout.0", b"{}", b"%s", b"\\",
)  # fmt: skip
IMMUTABLE, APPEND = 0x10, 0x20
# acl(5), as the kernel keeps it: version 2; the owner may nothing, nor may anybody else.
CLOSED_ACL = bytes.fromhex("02000000" + "01000000ffffffff" + "04000000ffffffff" + "20000000ffffffff")


def deep(root: Path, victim: Path) -> None:
    """Ten thousand levels: longer than any path, deeper than any recursion."""
    (root / "top").mkdir()
    for _ in range(DEEP):
        (root / "new").mkdir()
        (root / "top").rename(root / "new" / "d")
        (root / "new").rename(root / "top")


def links(root: Path, victim: Path) -> None:
    for name, target in (
        ("dir", victim),
        ("file", victim / "precious-1"),
        ("up", "../../victim"),
        ("slash", f"{victim}/"),
    ):
        (root / name).symlink_to(target)


def loops(root: Path, victim: Path) -> None:
    for name, target in (
        ("self", "self"),
        ("one", "two"),
        ("two", "one"),
        ("here", "."),
        ("above", ".."),
        ("proc", "/proc/self/fd"),
    ):
        (root / name).symlink_to(target)


def link_as_root(root: Path, victim: Path) -> None:
    root.rmdir()
    root.symlink_to(victim)


def second_names(root: Path, victim: Path) -> None:
    """Hard links, to the victim's files and to each other."""
    os.link(victim / "precious-1", root / "mine")
    (root / "sub").mkdir()
    os.link(root / "mine", root / "sub" / "too")


def immutable(root: Path, victim: Path) -> None:
    (root / "sub").mkdir()
    for path, flag in ((root / "file", IMMUTABLE), (root / "sub" / "log", APPEND)):
        path.write_text("x")
        flagged(path, flag)
    flagged(root / "sub", IMMUTABLE)


def flagged(path: Path, flag: int) -> None:
    with safe_fs.opened(path, os.O_RDONLY) as fd:
        now = struct.unpack("l", fcntl.ioctl(fd, safe_fs.GET_FLAGS, struct.pack("l", 0)))[0]
        fcntl.ioctl(fd, safe_fs.SET_FLAGS, struct.pack("l", now | flag))


def fifos(root: Path, victim: Path) -> None:
    os.mkfifo(root / "config")
    (root / "sub").mkdir()
    os.mkfifo(root / "sub" / "HEAD", 0)


def sockets(root: Path, victim: Path) -> None:
    """One that nobody listens on any more, and one that somebody does."""
    for name in ("dead", "alive"):
        with socket.socket(socket.AF_UNIX) as sock, safe_fs.opened(root, safe_fs.DIRECTORY) as fd:
            sock.bind(f"/proc/self/fd/{fd}/{name}")


def devices(root: Path, victim: Path) -> None:
    os.mknod(root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(root / "disk", stat.S_IFBLK | 0o666, os.makedev(7, 0))


def strange_names(root: Path, victim: Path) -> None:
    for name in STRANGE:
        (root / os.fsdecode(name)).mkdir()
        for inner in STRANGE:
            (root / os.fsdecode(name) / os.fsdecode(inner)).write_text("x")


def closed(root: Path, victim: Path) -> None:
    """Directories and files that nobody may enter or read."""
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c").write_text("x")
    for path in (root / "a" / "b" / "c", root / "a" / "b", root / "a", root):
        path.chmod(0)


def special_bits(root: Path, victim: Path) -> None:
    """Sticky, set-user and set-group, and another one's besides."""
    for number, mode in enumerate((0o1777, 0o2777, 0o4777, 0o7000)):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / "f").write_text("x")
        for path in (root / f"d{number}" / "f", root / f"d{number}"):
            if os.geteuid() == 0:
                os.chown(path, 1_900_000_000 + number, 1_900_000_000)
            path.chmod(mode)


def many(root: Path, victim: Path) -> None:
    with safe_fs.opened(root, safe_fs.DIRECTORY) as fd:
        for number in range(MANY):
            os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))


def sparse(root: Path, victim: Path) -> None:
    """As long as a file may be, and as old and as young."""
    with open(root / "huge", "wb") as file:
        file.truncate(1 << 43)
    for name, at in (("old", -(1 << 31)), ("young", 1 << 33)):
        (root / name).write_text("x")
        os.utime(root / name, (at, at))


def attributes(root: Path, victim: Path) -> None:
    """Lists of who may do what, one of them that all below inherit, and attributes as long as they may be."""
    (root / "sub").mkdir()
    (root / "sub" / "f").write_text("x")
    os.setxattr(root / "sub" / "f", "user.x", b"x" * 3000)
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        os.setxattr(root / "sub", name, CLOSED_ACL)


def wide(root: Path, victim: Path) -> None:
    """A directory per level and many beside it, with links to the victim among them."""
    for level in range(60):
        place = root / "/".join(f"l{number}" for number in range(level % 12)) / f"w{level}"
        place.mkdir(parents=True)
        (place / "out").symlink_to(victim)


TREES = (
    deep, links, loops, link_as_root, second_names, immutable, fifos, sockets, devices, strange_names, closed, special_bits, many,
    sparse, attributes, wide,
)  # fmt: skip
ROOTS = (immutable, devices)


@pytest.mark.parametrize("make", TREES, ids=lambda make: make.__name__)
def test_a_hostile_tree_is_counted_and_removed_and_the_victim_is_whole(tmp_path, victim, make):
    if make in ROOTS and os.geteuid() != 0:
        pytest.skip(f"{make.__name__} is not tried: it needs root")
    root = tmp_path / "agents" / "scout"
    root.mkdir(parents=True)
    try:
        make(root, victim)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EFBIG):
            raise
        pytest.skip(f"{make.__name__} is not tried: this file system has no such thing ({error.strerror})")
    found = holdings.counted("all", root)
    assert found.files <= holdings.MOST
    assert found.bytes < 1 << 30
    done = safe_fs.purge(root)
    assert done
    assert os.listdir(root.parent) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a mount inside is not tried: it needs root")
def test_what_is_mounted_inside_is_neither_counted_through_nor_removed(tmp_path, victim):
    root = tree(tmp_path / "agents" / "scout")
    subprocess.run(["mount", "--bind", victim, root / "d3" / "inner"], check=True)
    try:
        with pytest.raises(safe_fs.Unsafe, match="mounted"):
            safe_fs.purge(root)
    finally:
        subprocess.run(["umount", root / "d3" / "inner"], check=True)
    assert safe_fs.purge(root)
    assert os.listdir(root.parent) == []


# Takes a directory from one place to another and back, as fast as it goes.
MOVER = textwrap.dedent("""
    import os, sys
    root = sys.argv[1]
    print("going", flush=True)
    while True:
        for one, other in (("d0", "d1/moved"), ("d1/moved", "d0"), ("d2/inner", "d3/in"), ("d3/in", "d2/inner")):
            try:
                os.rename(f"{root}/{one}", f"{root}/{other}")
            except OSError:
                pass
""")


def test_a_directory_that_is_moved_about_meanwhile_is_removed_with_the_others(tmp_path, victim):
    root = tree(tmp_path / "agents" / "scout")
    (root / "d0" / "out").symlink_to(victim)
    with subprocess.Popen([sys.executable, "-I", "-c", MOVER, root], stdout=subprocess.PIPE) as mover:
        mover.stdout.readline()
        for _ in range(50):
            with contextlib.suppress(OSError):
                safe_fs.purge(root)
            if not os.listdir(root.parent):
                break
        mover.kill()
    with contextlib.suppress(FileNotFoundError):
        safe_fs.purge(root)
    assert os.listdir(root.parent) == []


@pytest.mark.parametrize("place", ["d0", "d4/inner"])
def test_what_is_counted_while_it_is_swapped_for_a_link_is_never_the_victims(tmp_path, victim, place):
    """The million bytes that only the victim has would show in the sum."""
    root = tree(tmp_path / "agents" / "scout")
    argv = [sys.executable, "-I", "-c", SWAPPER, root / place, victim]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as swapper:
        swapper.stdout.readline()
        sums = [holdings.counted("all", root).bytes for _ in range(300)]
        swapper.kill()
    assert max(sums) < 1 << 20
