"""What a proposed commit may be: one commit of sane length, one plain file of the right name, readable text.

Every hash is computed anew, from the sha that was asked for down to the file: who hands out the objects need not be trusted.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from broker.clean import clean

# Bytes. A tree of one entry is below a hundred; the rest is for naming what else is in it.
COMMIT, TREE, BLOB = 16 << 10, 64 << 10, 64 << 10
ENTRY = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
KINDS = {
    b"40000": "a directory",
    b"120000": "a symbolic link",
    b"160000": "a submodule",
    b"100755": "an executable file",
}
# Controls, formats (bidi, zero width), private use, surrogates, line and paragraph separators: what a reader cannot see.
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}

# ask(name of the object, most bytes) -> its type and its bytes.
Ask = Callable[[str, int], tuple[str, bytes]]


class BadCommit(Exception):
    """A commit cannot be asked for approval; the text is a sentence that says why."""


@dataclass(frozen=True)
class Blob:
    """The file that a commit proposes."""

    data: bytes
    sha256: str
    sha: str


def read(sha: str, wanted: str, ask: Ask) -> Blob:
    """Commit, tree, file; BadCommit at the first that will not do."""
    tree = _tree_of(_object(ask, sha, "commit", COMMIT, "the commit with its message"))
    blob = _only_file(_object(ask, tree, "tree", TREE, "its list of files"), wanted)
    data = _object(ask, blob, "blob", BLOB, wanted)
    _readable(data, wanted)
    return Blob(data, hashlib.sha256(data).hexdigest(), sha)


def _object(ask: Ask, name: str, kind: str, most: int, what: str) -> bytes:
    found, data = ask(name, most)
    if found != kind:
        raise BadCommit(f"{name} is a {found}, not a {kind}: name the commit itself.")
    if len(data) > most:
        raise BadCommit(f"{what.capitalize()} is larger than {most >> 10} KiB.")
    if hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest() != name:
        raise BadCommit(f"The {kind} {name} is not what its name says: the repository is damaged, or lies.")
    return data


def _tree_of(commit: bytes) -> str:
    found = re.match(rb"tree ([0-9a-f]{40})\n", commit)
    if not found:
        raise BadCommit("The commit names no tree.")
    return found[1].decode()


def _only_file(tree: bytes, wanted: str) -> str:
    """The name of the blob that is the tree's one and only entry."""
    entries = ENTRY.findall(tree)
    if sum(len(mode) + len(name) + 22 for mode, name, _ in entries) != len(tree):
        raise BadCommit("The commit's list of files is malformed.")
    if len(entries) != 1 or entries[0][1] != wanted.encode():
        raise BadCommit(f"A commit holds one file, {wanted}, and nothing else; this one holds {_listed(entries)}.")
    mode, _, blob = entries[0]
    if mode != b"100644":
        raise BadCommit(f"{wanted} has to be a plain file, and is {KINDS.get(mode, 'of mode ' + mode.decode())}.")
    return blob.hex()


def _listed(entries: list[tuple[bytes, bytes, bytes]]) -> str:
    shown = [clean(name.decode(errors="replace"))[:60].replace("\n", "\\n") for _, name, _ in entries[:3]]
    more = f" and {len(entries) - 3} more" if len(entries) > 3 else ""
    return (", ".join(shown) + more) or "none"


def _readable(data: bytes, wanted: str) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadCommit(f"{wanted} is not UTF-8 at byte {error.start}.") from None
    for number, line in enumerate(text.split("\n"), 1):
        for char in line:
            if char != "\t" and unicodedata.category(char) in UNSEEN:
                raise BadCommit(f"{wanted}, line {number}: U+{ord(char):04X} cannot be seen by a reader; take it out.")
