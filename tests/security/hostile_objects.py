"""Commits that want to be something else than one readable file, repositories that want to be too much, and false names.

Each takes an empty repository, written by hand and without git, and answers what is asked for. The bombs are those of the
project's facts, made smaller where only the disk of this machine would notice.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

TOML = b'model = "sonnet"\n'
WHO = b"a <a@b> 1700000000 +0000"
FILE, LINK, DIR, MODULE, EXECUTABLE = b"100644", b"120000", b"40000", b"160000", b"100755"
# Of a file of 2 GiB of zeros, which would take longer to compute than everything here.
ZEROS = 2 << 30


class Objects:
    """A repository, object by object."""

    def __init__(self, place: Path):
        self.dot = place / ".git"
        for part in ("objects/pack", "objects/info", "refs/heads"):
            (self.dot / part).mkdir(parents=True)
        (self.dot / "HEAD").write_text("ref: refs/heads/main\n")
        (self.dot / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")

    def store(self, kind: str, data: bytes, name: str = "", level: int = 1) -> str:
        whole = f"{kind} {len(data)}\0".encode() + data
        name = name or hashlib.sha1(whole).hexdigest()
        path = self.dot / "objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(whole, level))
        return name

    def tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        return self.store("tree", b"".join(b"%s %s\0" % (mode, name) + bytes.fromhex(of) for mode, name, of in entries))

    def commit(self, tree: str, message: bytes = b"why\n") -> str:
        sha = self.store("commit", b"tree %s\nauthor %s\ncommitter %s\n\n%s" % (tree.encode(), WHO, WHO, message))
        (self.dot / "refs" / "heads" / "main").write_text(sha + "\n")
        return sha

    def blob(self, data: bytes = TOML) -> str:
        return self.store("blob", data)

    def one(self, data: bytes = TOML, mode: bytes = FILE, name: bytes = b"agent.toml") -> str:
        """A commit of one file."""
        return self.commit(self.tree((mode, name, self.blob(data))))

    def pack(self, name: str, kind: int, size: int, deflated: bytes) -> None:
        """A pack of one object and its index (gitformat-pack(5)), of content that nobody had to hold in memory."""
        first, left = kind << 4 | size & 15, size >> 4
        head = bytearray()
        while left:
            head.append(first | 128)
            first, left = left & 127, left >> 7
        head.append(first)
        body = b"PACK" + struct.pack(">II", 2, 1) + bytes(head) + deflated
        check, place = hashlib.sha1(body).digest(), bytes.fromhex(name)
        crc = zlib.crc32(bytes(head) + deflated)
        fan = b"".join(struct.pack(">I", int(place[0] <= byte)) for byte in range(256))
        index = b"\xfftOc" + struct.pack(">I", 2) + fan + place + struct.pack(">II", crc, 12) + check
        packs = self.dot / "objects" / "pack"
        (packs / f"pack-{check.hex()}.pack").write_bytes(body + check)
        (packs / f"pack-{check.hex()}.idx").write_bytes(index + hashlib.sha1(index).digest())

    def device(self, path: str) -> str:
        """Their commit is honest, but this file of theirs never ends."""
        sha = self.one()
        (self.dot / path).parent.mkdir(exist_ok=True)
        (self.dot / path).unlink(missing_ok=True)
        (self.dot / path).symlink_to("/dev/zero")
        return sha


def zeros(it: Objects) -> str:
    """Deflated a mebibyte at a time, each the same: 2 MB that unpack to 2 GiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    # zlib's checksum of n zeros, without the n zeros (RFC 1950, 9).
    adler = struct.pack(">I", (ZEROS % 65521) << 16 | 1)
    name = "00" * 19 + "01"
    it.pack(name, 3, ZEROS, b"\x78\x9c" + block * (ZEROS >> 20) + packer.flush() + adler)
    return it.commit(it.tree((FILE, b"agent.toml", name)))


def tree_bomb(it: Objects) -> str:
    """Ten levels of ten: 10**10 files in eleven objects."""
    inner, mode = it.blob(), FILE
    for _ in range(10):
        inner, mode = it.tree(*((mode, b"%d" % number, inner) for number in range(10))), DIR
    return it.commit(inner)


def many_files(it: Objects) -> str:
    blob = it.blob()
    return it.commit(it.tree(*((FILE, b"%06d" % number, blob) for number in range(200_000))))


def tag(it: Objects) -> str:
    return it.store("tag", b"object %s\ntype commit\ntag v1\ntagger %s\n\nx\n" % (it.one().encode(), WHO))


def duplicates(it: Objects) -> str:
    return it.commit(it.tree((FILE, b"agent.toml", it.blob()), (FILE, b"agent.toml", it.blob(b"# evil\n"))))


def modules(it: Objects) -> str:
    bad = b'[submodule "x"]\n\tpath = x\n\turl = -u./evil\n'
    return it.commit(it.tree((FILE, b".gitmodules", it.blob(bad)), (FILE, b"agent.toml", it.blob())))


def wrong_hash(it: Objects) -> str:
    name = it.store("blob", b"# evil\n", hashlib.sha1(b"blob %d\0" % len(TOML) + TOML).hexdigest())
    return it.commit(it.tree((FILE, b"agent.toml", name)))


def replaced(it: Objects) -> str:
    """The evil file, for which every `git show` would show a good one."""
    evil, good = it.blob(b'model = "evil"\n'), it.blob()
    (it.dot / "refs" / "replace").mkdir()
    (it.dot / "refs" / "replace" / evil).write_text(good + "\n")
    return it.commit(it.tree((FILE, b"agent.toml", evil)))


def many_refs(it: Objects) -> str:
    sha = it.one()
    lines = "".join(f"{sha} refs/heads/b{number:06d}\n" for number in range(200_000))
    (it.dot / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + lines)
    return sha


def huge_refs(it: Objects) -> str:
    sha = it.one()
    with open(it.dot / "packed-refs", "w") as refs:
        refs.write("# pack-refs with: peeled fully-peeled sorted \n")
        for number in range(100):
            refs.write("".join(f"{sha} refs/heads/{number:03d}/{'x' * 960}{line:04d}\n" for line in range(1000)))
    return sha


def huge_config(it: Objects) -> str:
    with open(it.dot / "config", "a") as config:
        for number in range(40):
            config.write(f"[x{number}]\n" + "\tkey = value of sixteen\n" * 43_000)
    return it.one()


def odd_refs(it: Objects) -> str:
    sha = it.one()
    for name in ("--upload-pack=x", "-c", "a b", "\x1b]0;x\x07", "..", "@{x}"):
        with open(it.dot / "packed-refs", "a") as refs:
            refs.write(f"{sha} refs/heads/{name}\n")
    return sha


def sha256_repository(it: Objects) -> str:
    (it.dot / "config").write_text(
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n\tworktreeConfig = true\n"
    )
    return it.one()


ONE, WHOLE = "holds one file", "whole sha"
LIMIT = "more time or room|longer than"
TRUE = f"file:{TOML.decode()}"
# Name -> how it is made, and words of the refusal, or `file:` and what is read.
OBJECTS: dict[str, tuple[Callable[[Objects], str], str]] = {
    # Modes and trees.
    "symbolic link": (lambda it: it.one(b"/etc/shadow", LINK), "a symbolic link"),
    "submodule": (lambda it: it.commit(it.tree((MODULE, b"agent.toml", "11" * 20))), "a submodule"),
    "executable": (lambda it: it.one(TOML, EXECUTABLE), "an executable file"),
    "directory": (
        lambda it: it.commit(it.tree((DIR, b"agent.toml", it.tree((FILE, b"x", it.blob()))))),
        "a directory",
    ),
    "extra file": (lambda it: it.commit(it.tree((FILE, b"a", it.blob()), (FILE, b"agent.toml", it.blob()))), ONE),
    "other name": (lambda it: it.one(name=b"agent.nix"), ONE),
    "no file": (lambda it: it.commit(it.tree()), "holds none"),
    "modules with an option": (modules, "fault with it: gitmodulesUrl"),
    "an entry .git": (lambda it: it.one(name=b".git"), "fault with it: hasDotgit"),
    "names twice": (duplicates, "fault with it: duplicateEntries"),
    "a path as a name": (lambda it: it.one(name=b"../../etc/cron.d/x"), "fault with it: fullPathname"),
    "tree bomb": (tree_bomb, ONE),
    "200000 files": (many_files, "list of files is larger"),
    # Other objects than a commit.
    "a tree's sha": (lambda it: it.tree((FILE, b"agent.toml", it.blob())), "is a tree"),
    "a tag's sha": (tag, "is a tag"),
    "a file's sha": (lambda it: it.blob(), "is a blob"),
    "wrong hash": (wrong_hash, "missing or damaged"),
    "missing file": (lambda it: it.commit(it.tree((FILE, b"agent.toml", "22" * 20))), "missing or damaged"),
    # Content.
    "not UTF-8": (lambda it: it.one(b"# \xff\xfe\n"), "not UTF-8"),
    "escape": (lambda it: it.one(b"# \x1b[2K\n"), r"U\+001B"),
    "bidi": (lambda it: it.one("# \u202etxt\n".encode()), r"U\+202E"),
    "carriage return": (lambda it: it.one(b"# good\r# evil\n"), r"U\+000D"),
    "zero width": (lambda it: it.one("# a\u200bb\n".encode()), r"U\+200B"),
    "NUL": (lambda it: it.one(b"# \0\n"), r"U\+0000"),
    "line separator": (lambda it: it.one("# a\u2028b = 1\n".encode()), r"U\+2028"),
    "70 kB": (lambda it: it.one(b"#" * 70_000), "Agent.toml is larger than 64 KiB"),
    # Bombs.
    "2 GiB of zeros": (zeros, LIMIT),
    "24 MiB of noise": (lambda it: it.one(os.urandom(24 << 20)), LIMIT),
    "10 MB of message": (lambda it: it.commit(it.tree((FILE, b"agent.toml", it.blob())), b"x" * 10**7), "its message"),
    "200000 refs": (many_refs, TRUE),
    "96 MB of refs": (huge_refs, TRUE),
    "40 MB of configuration": (huge_config, f"{TRUE}|{LIMIT}"),
    "/dev/zero for alternates": (lambda it: it.device("objects/info/alternates"), LIMIT),
    "/dev/zero for shallow": (lambda it: it.device("shallow"), "bad shallow line"),
    "/dev/zero for HEAD": (lambda it: it.device("HEAD"), "no git repository"),
    "/dev/zero for config": (lambda it: it.device("config"), "bad config line 1"),
    # Repositories and names that lie.
    "replaced": (replaced, 'file:model = "evil"\n'),
    "odd refs": (odd_refs, TRUE),
    "sha256": (sha256_repository, "another hash than SHA-1"),
    "an option": (lambda it: it.one() and "--output=/tmp/x", WHOLE),
    "a short sha": (lambda it: it.one()[:12], WHOLE),
    "a sha and a newline": (lambda it: it.one() + "\n", WHOLE),
    "an expression": (lambda it: it.one() and "HEAD^{/why}", WHOLE),
    "capitals": (lambda it: it.one().upper(), WHOLE),
    "another commit": (lambda it: it.one() and "33" * 20, "no such commit"),
}
