"""An agent's vital signs: what is shown of samples, of the context and of the day."""

import pytest
from django.utils import timezone

from agents.models import Event, Turn
from dashboard import plots, signs
from lifecycle import vitals
from lifecycle.vitals import Sample

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_samples():
    vitals.RINGS.clear()
    yield
    vitals.RINGS.clear()


def test_samples_are_plotted(operator, agent):
    for n in range(4):
        vitals.RINGS["scout"].append(Sample(1000 + 10 * n, 5.0 * n, 10**8 * (n + 1), 4096, 7))
    html = operator.get("/agents/scout/vitals").content.decode()
    assert html.count('class="plot"') == 3
    assert "50 %" in html
    assert "400.0 MB" in html
    assert "cpu in the last half hour: 50 % to 50 %" in html


def test_without_samples_it_says_so(operator, agent):
    assert "not looked at yet" in operator.get("/agents/scout/vitals").content.decode()


@pytest.mark.parametrize(
    ("payload", "percent"),
    [
        ({"message": {"usage": {"input_tokens": 100_000}}}, 50),
        (
            {"message": {"model": "opus[1m]", "usage": {"input_tokens": 100_000, "cache_read_input_tokens": 150_000}}},
            25,
        ),
        ({"message": {"usage": {"input_tokens": 10**9}}}, 100),
    ],
)
def test_the_context_is_as_full_as_the_newest_answer_says(agent, payload, percent):
    Event.objects.create(agent="scout", seq=1, kind="assistant", payload=payload)
    assert signs.context_fill("scout")["percent"] == percent


@pytest.mark.parametrize(
    "payload", [[], {"message": 3}, {"message": {"usage": "x"}}, {"message": {"usage": {"input_tokens": "9"}}}]
)
def test_an_answer_of_any_shape_does_no_harm(agent, payload):
    Event.objects.create(agent="scout", seq=1, kind="assistant", payload=payload)
    assert signs.context_fill("scout") is None


def test_the_day_is_added_up(agent):
    row = {"agent": "scout", "started_at": timezone.now(), "cost_usd": 0.5}
    for number, outcome in enumerate(("ok", "timeout", ""), 1):
        ended = timezone.now() if outcome else None
        Turn.objects.create(id=f"t{number}", number=number, ended_at=ended, outcome=outcome, **row)
    assert signs.today("scout") == {"count": 3, "failed": 1, "cost": 1.5}


@pytest.mark.parametrize(
    ("words", "count"), [("2G", 2 * 2**30), ("512", 512), ("1K", 1024), (None, 0), ("x", 0), ("", 0)]
)
def test_a_limit_in_bytes(words, count):
    assert plots.as_bytes(words) == count


def test_sizes_are_written_as_people_read_them():
    assert [plots.size(n) for n in (0, 999, 4096, 1_700_000_000)] == ["0 B", "999 B", "4 kB", "1.7 GB"]
