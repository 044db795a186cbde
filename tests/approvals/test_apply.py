"""A configuration by commit: asked for, shown, decided on what was seen, carried out once, and taken back when it fails."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from agents.models import Agent
from approvals import carry
from approvals.models import Approval
from broker.models import Lease, Message
from broker.wire import Refused
from lifecycle.models import Container
from tests.approvals.conftest import SHA, Repositories, rebuilt

pytestmark = pytest.mark.django_db

NEW = b'model = "opus"\negress = ["docs.example.org"]\n'


@pytest.fixture
def proposal(scout: Container, git: Repositories) -> Approval:
    return ask(git)


def ask(git: Repositories, data: bytes = NEW, sha: str = SHA, cid: str | None = None) -> Approval:
    git.proposed[sha] = data
    return Approval.request_apply_commit("hm1nd", "scout", sha, "it reads the docs", cid)


def approved(approval: Approval) -> Approval:
    approval.approve("operator", "a test", approval.sha256)
    return approval


def carried_out(approval: Approval) -> Approval:
    Approval.carry_out_all()
    approval.refresh_from_db()
    return approval


def told() -> list[str]:
    return list(Message.objects.filter(recipient="hm1nd").order_by("id").values_list("body", flat=True))


# ---- asking


def test_the_row_holds_the_bytes_and_what_they_are_set_against(proposal: Approval, scout: Container) -> None:
    assert (proposal.kind, proposal.sha, proposal.content.encode()) == ("apply_commit", SHA, NEW)
    assert (proposal.before, proposal.incarnation) == (scout.source, scout.incarnation)
    assert proposal.changes() == ["egress +docs.example.org"]


def test_asked_twice_it_is_one_request(scout: Container, git: Repositories) -> None:
    first = ask(git, cid="call-0001")
    git.proposed.clear()
    assert Approval.request_apply_commit("hm1nd", "scout", SHA, "again", "call-0001").pk == first.pk


def test_a_later_request_takes_the_earlier_ones_place(proposal: Approval, git: Repositories) -> None:
    ask(git, b'model = "haiku"\n', "b" * 40)
    proposal.refresh_from_db()
    assert proposal.state == "superseded"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"model = 1\n", "line 1: The configuration's 'model' will not do"),
        (b"# hi\nmodle = 'x'\n", r"line 2: No configuration key is called 'modle'. Did you mean 'model'\?"),
        (b"model = \n", "no TOML: at line 1, column 9"),
        (b"packages = ['jq']\n", "Driver process cannot honour packages"),
        (b'model = "opus"\n', "That is what is applied to scout already"),
    ],
)
def test_what_could_not_take_effect_is_refused_at_once(
    scout: Container, git: Repositories, data: bytes, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        ask(git, data)
    assert not Approval.objects.exists()


def test_a_commit_that_is_none_and_an_agent_that_is_none_are_refused(scout: Container, git: Repositories) -> None:
    for agent, sentence in (("scout", "There is no commit"), ("nobody", "No agent is called")):
        with pytest.raises(Refused, match=sentence):
            Approval.request_apply_commit("hm1nd", agent, SHA, "why not")
    Container.objects.update(desired="destroyed")
    with pytest.raises(Refused, match="scout was destroyed"):
        ask(git)


# ---- deciding


def test_a_yes_is_to_the_base_that_was_seen(proposal: Approval) -> None:
    Container.objects.update(source='model = "haiku"\n')
    with pytest.raises(Refused, match="What is applied to scout has changed since approval") as refused:
        approved(proposal)
    assert refused.value.word == "base_moved"
    assert Approval.pending().exists()


def test_a_yes_to_other_bytes_is_refused(proposal: Approval) -> None:
    with pytest.raises(Refused, match="look again"):
        proposal.approve("operator", "a test", "0" * 64)


@pytest.mark.parametrize("gone", [{"desired": "destroyed"}, {"incarnation": "another of the name"}])
def test_a_yes_for_an_agent_that_is_gone_is_refused(proposal: Approval, gone: dict) -> None:
    Container.objects.update(**gone)
    with pytest.raises(Refused, match="scout was destroyed after approval"):
        approved(proposal)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(20))
def test_of_sixty_four_at_once_one_decides(proposal: Approval, round_: int) -> None:
    won, gate = [], threading.Barrier(64, timeout=60)

    def decide(number: int) -> None:
        mine = Approval.objects.get(pk=proposal.pk)
        gate.wait()
        try:
            if number % 2:
                mine.approve(f"operator-{number}", "a test", mine.sha256)
            else:
                mine.deny(f"operator-{number}", "a test", "no")
            won.append(number)
        except Refused as refused:
            assert refused.word == "already_decided"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=64) as threads:
        list(threads.map(decide, range(64)))
    proposal.refresh_from_db()
    assert [proposal.decided_by] == [f"operator-{number}" for number in won]


# ---- carrying out


def test_a_yes_commits_switches_and_waits_for_the_hello(proposal: Approval, git: Repositories) -> None:
    assert carried_out(approved(proposal)).state == "applying"
    assert proposal.doing == "waiting until it is up"
    row = Container.named("scout")
    assert (row.op, row.source.encode(), row.config["egress"]) == ("rebuild", NEW, ["docs.example.org"])
    assert git.log[-1] == (NEW, f"#{proposal.pk}: it reads the docs")
    rebuilt()
    assert carried_out(proposal).state == "applied"
    assert told() == [
        f"Your request #{proposal.pk} (apply_commit scout) was approved by operator and applied: scout runs with it."
    ]


def test_a_turn_that_runs_is_waited_for(proposal: Approval) -> None:
    Lease.hold("turn-1", "scout", 60)
    carried_out(approved(proposal))
    assert (proposal.state, proposal.doing) == ("applying", "waiting until it runs no turn")
    assert (Container.named("scout").op, Container.named("scout").config) == ("", {"model": "opus"})
    Lease.drop("scout", "turn-1")
    carried_out(proposal)
    assert Container.named("scout").op == "rebuild"


def test_a_stopped_agent_gets_it_and_stays_stopped(proposal: Approval) -> None:
    Container.objects.update(desired="stopped", status="stopped")
    assert carried_out(approved(proposal)).state == "applied"
    row = Container.named("scout")
    assert (row.op, row.source.encode()) == ("", NEW)


@pytest.mark.parametrize(
    "outcome",
    [
        {"status": "failing", "error": "Its harness has not said hello within 30 s."},
        {"error": "The rebuild failed, the old container runs on: no."},
        {"status": "stopped", "error": "It ended with exit code 1."},
    ],
)
def test_what_does_not_come_up_is_taken_back_and_says_why(proposal: Approval, git: Repositories, outcome: dict) -> None:
    carried_out(approved(proposal))
    rebuilt(**outcome)
    assert carried_out(proposal).doing == "it did not come up: waiting until it is back"
    assert Container.named("scout").op == "rebuild"
    rebuilt()
    assert carried_out(proposal).state == "failed"
    assert proposal.error == outcome["error"]
    row = Container.named("scout")
    assert (row.source, row.config, row.op) == ('model = "opus"\n', {"model": "opus"}, "")
    assert git.current() == row.source.encode()
    assert (
        f"did not come up with it: {outcome['error'].rstrip('.')}; the configuration from before is back." in told()[0]
    )


def test_a_claude_that_does_not_start_is_a_failure_too(proposal: Approval) -> None:
    carried_out(approved(proposal))
    Agent.objects.update(cli_version="")
    rebuilt()
    carried_out(proposal)
    assert proposal.error == carry.NO_CLAUDE


def test_who_is_destroyed_meanwhile_fails_and_says_so(proposal: Approval) -> None:
    Lease.hold("turn-1", "scout", 60)
    carried_out(approved(proposal))
    Container.objects.update(desired="destroyed", op="destroy")
    assert carried_out(proposal).state == "failed"
    assert "scout was destroyed meanwhile" in told()[0]


def test_what_was_asked_on_the_old_base_is_superseded(proposal: Approval, git: Repositories) -> None:
    carried_out(approved(proposal))
    late = ask(git, b'model = "haiku"\n', "c" * 40)
    Approval.objects.filter(pk=late.pk).update(before='model = "opus"\n')
    rebuilt()
    carried_out(proposal)
    late.refresh_from_db()
    assert late.state == "superseded"
    assert f"#{proposal.pk} was applied meanwhile" in late.reason


# ---- going back


def test_a_rollback_is_an_approval_that_the_operator_made(proposal: Approval, git: Repositories) -> None:
    carried_out(approved(proposal))
    rebuilt()
    carried_out(proposal)
    back = Approval.rollback("operator", "the command line", "scout")
    assert (back.state, back.content, back.requested_by) == ("approved", 'model = "opus"\n', "operator")
    carried_out(back)
    rebuilt()
    assert carried_out(back).state == "applied"
    assert Container.named("scout").config == {"model": "opus"}
    again = Approval.rollback("operator", "the command line", "scout", f"{1:040x}")
    assert again.content.encode() == NEW


def test_a_rollback_passes_over_what_is_known_to_fail(proposal: Approval, git: Repositories) -> None:
    carried_out(approved(proposal))
    rebuilt(status="failing", error="No hello.")
    carried_out(proposal)
    rebuilt()
    carried_out(proposal)
    with pytest.raises(Refused, match="scout has no earlier configuration"):
        Approval.rollback("operator", "the command line", "scout")
    with pytest.raises(Refused, match="no revision 'beef'"):
        Approval.rollback("operator", "the command line", "scout", "beef")
