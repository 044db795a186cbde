"""From a commit that the manager made to what the operator is asked: fetched in a jail, read, and set beside what is applied."""

import hashlib
from typing import NamedTuple

from broker.wire import Refused
from lifecycle import drivers, repos
from lifecycle.config import AgentConfig
from lifecycle.models import Container


class Proposal(NamedTuple):
    """The columns of a request that its commit decides."""

    content: str
    sha: str
    before: str
    base: str
    incarnation: str


def fetched(agent: str, sha: str) -> Proposal:
    """The commit of the proposed repository; Refused when it is none, or could not take effect. Takes up to 10 s."""
    row = alive(agent)
    try:
        blob = repos.fetch(agent, sha, row.config_file)
    except repos.BadCommit as bad:
        raise Refused("bad_params", str(bad), "bad_commit") from None
    return proposed(row, blob.data.decode(), blob.sha)


def earlier(agent: str, rev: str) -> Proposal:
    """What was applied before: at the revision, or, without one, the newest that differs and is not known to fail."""
    row = alive(agent)
    for entry in history(agent):
        if entry["rev"].startswith(rev):
            content = read(row, entry["rev"])
            if rev or content != row.source and not failed(agent, content):
                return proposed(row, content, entry["rev"])
    which = f"revision {rev[:40]!r}" if rev else "earlier configuration"
    raise Refused("not_found", f"{agent} has no {which}: `hive history {agent}` lists what there is.", "unknown_rev")


def history(agent: str) -> list[dict[str, str]]:
    try:
        return repos.Applied(agent).history()
    except repos.BadCommit as bad:
        raise Refused("conflict", str(bad), "bad_repository") from None


def read(row: Container, rev: str) -> str:
    try:
        return repos.Applied(row.name).read(rev, row.config_file).decode()
    except repos.BadCommit as bad:
        raise Refused("conflict", str(bad), "bad_repository") from None


def failed(agent: str, content: str) -> bool:
    """Whether it was tried and the agent did not come up with it, and never did."""
    from .models import Approval  # it imports us

    tried = Approval.objects.filter(agent=agent, kind=Approval.Kind.APPLY_COMMIT, content=content)
    return tried.filter(state="failed").exists() and not tried.filter(state="applied").exists()


def alive(agent: str) -> Container:
    row = Container.named(agent)
    if row.desired == Container.Desired.DESTROYED:
        raise Refused("conflict", f"{agent} was destroyed: there is nothing to configure.", "destroyed")
    return row


def proposed(row: Container, content: str, sha: str) -> Proposal:
    if content == row.source:
        raise Refused("conflict", f"That is what is applied to {row.name} already.", "nothing_changes")
    if row.config_file == "agent.toml":
        config = AgentConfig.from_toml(content.encode())
        if refusal := drivers.driver(row.driver).cannot(config):
            raise Refused("bad_params", refusal, "cannot_honour")
    return Proposal(content, sha, row.source, hashlib.sha256(row.source.encode()).hexdigest(), row.incarnation)


def changes(before: str, after: str) -> list[str]:
    """The settings that differ; [] where the text is not TOML, which is to say, Nix."""
    try:
        return AgentConfig.changes(AgentConfig.from_toml(before.encode()), AgentConfig.from_toml(after.encode()))
    except Refused:
        return []
