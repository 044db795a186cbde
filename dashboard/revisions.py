"""Which commit of its configuration an agent runs, and what there is that is newer."""

from collections.abc import Iterable
from typing import NamedTuple

from approvals import intake
from approvals.models import Approval
from broker.wire import Refused
from lifecycle.applied import BRANCH, REV, Applied
from lifecycle.models import Container

UNDER_WAY = (Approval.State.APPROVED, Approval.State.APPLYING)


class Revision(NamedTuple):
    """`rev` is '' before the first start; `newer` is a request that waits for the operator or is being carried out."""

    rev: str
    newer: Approval | None


def of(row: Container, approvals: Iterable[Approval]) -> Revision:
    mine = [one for one in approvals if (one.agent, one.incarnation) == (row.name, row.incarnation)]
    changes = [one for one in mine if one.kind == Approval.Kind.APPLY_COMMIT]
    under_way = next((one for one in changes if one.state in UNDER_WAY), None)
    waits = next((one for one in changes if one.state == Approval.State.PENDING), None)
    ahead = under_way is not None and under_way.content != row.source
    return Revision(before(row) if ahead else head(row.name), waits or under_way)


def head(name: str) -> str:
    """What was committed last, without opening the repository: a hundred of them are asked at once."""
    try:
        rev = (Applied(name).place / BRANCH).read_text().strip()
    except OSError:
        return ""
    return rev if REV.fullmatch(rev) else ""


def before(row: Container) -> str:
    """The newest of the last two commits that says what runs: the one that was just approved is committed before it does."""
    try:
        newest = [entry["rev"] for entry in intake.history(row.name)[:2]]
        return next((rev for rev in newest if intake.read(row, rev) == row.source), "")
    except Refused:
        return ""
