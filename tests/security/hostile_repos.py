"""29 repositories that want to hurt whoever opens them: 24 to run a command of theirs, 5 to hand out another repository.

A command that runs says EXECUTED on stderr, which leaves every sandbox, and writes who it ran as into a file, if it can.
Sources: facts of the project, git-config(1), gitattributes(5), githooks(5), gitrepository-layout(5).
"""

import os
import subprocess
from pathlib import Path

HONEST = b'model = "sonnet"\n'
SECRET = b"# HOST-SECRET-TOKEN\n"
SAYS = "EXECUTED"
IDENTITY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
CLEAN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TEMPLATE_DIR": ""}
SIGNED = {
    "pgp": ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----"),
    "x509": ("-----BEGIN SIGNED MESSAGE-----", "-----END SIGNED MESSAGE-----"),
}


def git(place: Path, *words: str, data: bytes = b"") -> str:
    """As the one who makes it, who is not its victim."""
    done = subprocess.run(
        ["git", *words], cwd=place, input=data, env=CLEAN | IDENTITY, capture_output=True, check=True, timeout=60
    )
    return done.stdout.decode().strip()


class Hostile:
    """An honest repository of two commits, and what a vector does to it."""

    def __init__(self, place: Path, marks: Path, secret: Path):
        self.place, self.dot, self.secret, self.mark = place, place / ".git", secret, marks / "mark"
        git(place, "init", "-q", "-b", "main")
        for content in (b"# begun\n", HONEST):
            (place / "agent.toml").write_bytes(content)
            git(place, "add", "agent.toml")
            git(place, "commit", "-q", "-m", "a change")
        self.sha = git(place, "rev-parse", "HEAD")
        self.command = f"echo {SAYS} >&2; id -u >>{self.mark}; :"

    def set(self, key: str, value: str, file: str = "config") -> None:
        git(self.place, "config", "-f", str(self.dot / file), key, value)

    def attributes(self, line: str) -> None:
        (self.dot / "info").mkdir(exist_ok=True)
        (self.dot / "info" / "attributes").write_text(line + "\n")

    def touch(self) -> None:
        """So that git has to look into the file."""
        (self.place / "agent.toml").write_bytes(HONEST.replace(b"sonnet", b"haiku!"))
        os.utime(self.place / "agent.toml", (1, 1))

    def hooks(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        for name in ("post-index-change", "post-checkout", "pre-commit", "reference-transaction", "pre-auto-gc"):
            (place / name).write_text(f"#!/bin/sh\n{self.command}\n")
            (place / name).chmod(0o755)

    def lose_the_file(self, url: str) -> None:
        """A partial clone that has yet to fetch the file from there, whoever reads it."""
        self.set("extensions.partialClone", "origin")
        self.set("core.repositoryFormatVersion", "1")
        self.set("remote.origin.promisor", "true")
        self.set("remote.origin.partialCloneFilter", "blob:none")
        self.set("remote.origin.url", url)
        blob = git(self.place, "rev-parse", "HEAD:agent.toml")
        (self.dot / "objects" / blob[:2] / blob[2:]).unlink()
        (self.dot / "objects" / "pack").mkdir(exist_ok=True)

    def sign(self, kind: str) -> None:
        begin, end = SIGNED[kind]
        raw = git(self.place, "cat-file", "commit", "HEAD")
        head, _, message = raw.partition("\n\n")
        signed = f"{head}\ngpgsig {begin}\n \n abc\n {end}\n\n{message}\n"
        self.sha = git(self.place, "hash-object", "-w", "-t", "commit", "--stdin", data=signed.encode())
        git(self.place, "update-ref", "refs/heads/main", self.sha)
        self.set("log.showSignature", "true")


# ---- 24 that run something --------------------------------------------------------------------------------------------


def fsmonitor(it: Hostile) -> None:
    it.set("core.fsmonitor", it.command)


def fsmonitor_included(it: Hostile) -> None:
    it.set("include.path", "more")
    it.set("core.fsmonitor", it.command, "more")


def fsmonitor_behind_a_file(it: Hostile) -> None:
    it.set("core.fsmonitor", it.command)
    it.dot.rename(it.place / "elsewhere")
    it.dot.write_text("gitdir: elsewhere\n")


def hooks_path(it: Hostile) -> None:
    it.hooks(it.place / "h")
    it.set("core.hooksPath", "h")
    it.touch()


def hooks(it: Hostile) -> None:
    it.hooks(it.dot / "hooks")
    it.touch()


def filter_clean(it: Hostile) -> None:
    it.set("filter.x.clean", it.command + " cat")
    it.attributes("* filter=x")
    it.touch()


def filter_process(it: Hostile) -> None:
    it.set("filter.x.process", it.command)
    it.attributes("* filter=x")
    it.touch()


def filter_smudge(it: Hostile) -> None:
    it.set("filter.x.smudge", it.command + " cat")
    it.attributes("* filter=x")


def diff_external(it: Hostile) -> None:
    it.set("diff.external", it.command)
    it.touch()


def diff_command(it: Hostile) -> None:
    it.set("diff.x.command", it.command)
    it.attributes("* diff=x")
    it.touch()


def diff_textconv(it: Hostile) -> None:
    it.set("diff.x.textconv", it.command + " cat")
    it.attributes("* diff=x")


def gpg_program(it: Hostile) -> None:
    it.sign("pgp")
    it.hooks(it.place / "h")
    it.set("gpg.program", str(it.place / "h" / "pre-commit"))


def x509_program(it: Hostile) -> None:
    it.sign("x509")
    it.hooks(it.place / "h")
    it.set("gpg.x509.program", str(it.place / "h" / "pre-commit"))


def lazy_over_ssh(it: Hostile) -> None:
    it.set("core.sshCommand", it.command)
    it.lose_the_file("ssh://nowhere/x")


def lazy_over_ext(it: Hostile) -> None:
    it.hooks(it.place / "h")
    it.set("protocol.ext.allow", "always")
    it.lose_the_file(f"ext::{it.place / 'h' / 'pre-commit'}")


def ssh_command(it: Hostile) -> None:
    it.set("core.sshCommand", it.command)
    it.set("remote.origin.url", "ssh://nowhere/x")


def ext_remote(it: Hostile) -> None:
    it.hooks(it.place / "h")
    it.set("protocol.ext.allow", "always")
    it.set("remote.origin.url", f"ext::{it.place / 'h' / 'pre-commit'}")


def pack_objects_hook(it: Hostile) -> None:
    it.set("uploadpack.packObjectsHook", it.command)


def pager(it: Hostile) -> None:
    it.set("core.pager", it.command)
    for name in ("show", "log", "diff", "status"):
        it.set(f"pager.{name}", it.command)


def helpers(it: Hostile) -> None:
    it.set("credential.helper", f"!{it.command}")
    it.set("core.askPass", it.command)
    it.set("core.editor", it.command)
    it.set("sequence.editor", it.command)


def alternate_refs(it: Hostile) -> None:
    it.set("core.alternateRefsCommand", it.command)
    (it.dot / "objects" / "info").mkdir(exist_ok=True)
    (it.dot / "objects" / "info" / "alternates").write_text(f"{it.dot / 'objects'}\n")


def recent_objects(it: Hostile) -> None:
    it.set("gc.recentObjectsHook", it.command)
    it.set("gc.auto", "1")


def fifo_config(it: Hostile) -> None:
    (it.dot / "config").unlink()
    os.mkfifo(it.dot / "config")


def fifo_head(it: Hostile) -> None:
    (it.dot / "HEAD").unlink()
    os.mkfifo(it.dot / "HEAD")


LATE = "took longer than"
LACKS = "missing or damaged"
# What it does -> what the intake has to answer: '' is the honest file, else words of the refusal.
EXECUTE = {
    fsmonitor: "", fsmonitor_included: "", fsmonitor_behind_a_file: "", hooks_path: "", hooks: "", filter_clean: "",
    filter_process: "", filter_smudge: "", diff_external: "", diff_command: "", diff_textconv: "", gpg_program: "",
    x509_program: "", lazy_over_ssh: LACKS, lazy_over_ext: LACKS, ssh_command: "", ext_remote: "", pack_objects_hook: "",
    pager: "", helpers: "", alternate_refs: "", recent_objects: "", fifo_config: LATE, fifo_head: LATE,
}  # fmt: skip


# ---- 5 that show another repository -----------------------------------------------------------------------------------


def alternates(it: Hostile) -> None:
    (it.dot / "objects" / "info").mkdir(exist_ok=True)
    (it.dot / "objects" / "info" / "alternates").write_text(f"{it.secret / '.git' / 'objects'}\n")


def objects_link(it: Hostile) -> None:
    (it.dot / "objects").rename(it.dot / "old")
    (it.dot / "objects").symlink_to(it.secret / ".git" / "objects")


def git_file(it: Hostile) -> None:
    it.dot.rename(it.place / "old")
    it.dot.write_text(f"gitdir: {it.secret / '.git'}\n")


def git_link(it: Hostile) -> None:
    it.dot.rename(it.place / "old")
    it.dot.symlink_to(it.secret / ".git")


def common_dir(it: Hostile) -> None:
    (it.dot / "commondir").write_text(f"{it.secret / '.git'}\n")


NONE = "no git repository"
LEAK = {alternates: "no such commit", objects_link: NONE, git_file: NONE, git_link: NONE, common_dir: NONE}


def private(place: Path) -> str:
    """A repository of the host's, for nobody else to read; its commit."""
    place.mkdir(mode=0o700)
    git(place, "init", "-q", "-b", "main")
    (place / "agent.toml").write_bytes(SECRET)
    git(place, "add", "agent.toml")
    git(place, "commit", "-q", "-m", "private")
    return git(place, "rev-parse", "HEAD")
