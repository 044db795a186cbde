"""A proposed commit is checked from its sha down, whoever hands out the objects."""

import hashlib

import pytest

from lifecycle import objects

GOOD = b'model = "sonnet"\n'


def named(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


@pytest.fixture
def shop():
    """Name -> object, and the sha of the commit of one honest file."""
    blob = named("blob", GOOD)
    tree = b"100644 agent.toml\0" + bytes.fromhex(blob)
    commit = b"tree %s\n\nwhy\n" % named("tree", tree).encode()
    held = {named(kind, data): (kind, data) for kind, data in {"blob": GOOD, "tree": tree, "commit": commit}.items()}
    return held, named("commit", commit)


def read(held, sha) -> objects.Blob:
    return objects.read(sha, "agent.toml", lambda name, most: (held[name][0], held[name][1][: most + 1]))


def test_an_honest_commit_is_its_file(shop):
    held, sha = shop
    assert read(held, sha) == objects.Blob(GOOD, hashlib.sha256(GOOD).hexdigest(), sha)


@pytest.mark.parametrize("kind", ["commit", "tree", "blob"])
def test_another_object_under_its_name_is_a_lie(kind, shop):
    held, sha = shop
    name = next(name for name, (found, _) in held.items() if found == kind)
    held[name] = (
        kind,
        held[name][1].replace(b"100644", b"100755").replace(b"why", b"no!").replace(b"sonnet", b"haiku!"),
    )
    with pytest.raises(objects.BadCommit, match="is not what its name says"):
        read(held, sha)


@pytest.mark.parametrize("tree", [b"100644 agent.toml", b"100644 agent.toml\0123", b"x", b"\0" * 40])
def test_half_a_tree_is_none(tree, shop):
    held, _ = shop
    commit = b"tree %s\n\nwhy\n" % named("tree", tree).encode()
    held |= {named("tree", tree): ("tree", tree), named("commit", commit): ("commit", commit)}
    with pytest.raises(objects.BadCommit, match="malformed"):
        read(held, named("commit", commit))


def test_a_commit_without_a_tree_is_none(shop):
    held, _ = shop
    with pytest.raises(objects.BadCommit, match="names no tree"):
        read(held | {named("commit", b"parent x\n"): ("commit", b"parent x\n")}, named("commit", b"parent x\n"))
