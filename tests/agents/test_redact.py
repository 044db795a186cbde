"""Keys in what is stored: each known shape goes, what only looks like one stays, and no text takes long."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models import Agent, Event, Turn
from agents.redact import HINTS, redacted
from harness import storable

# Put together here, so that no scanner takes this file for a leak.
BODY = "Ab3" * 14
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEpAIBAAKCAQEA' * 4}\n{BODY}==\n-----END RSA PRIVATE KEY-----"
JWT = f"eyJ{BODY}.eyJ{BODY}.{BODY}-_x"
KEYS = {
    "Anthropic key": [f"sk-ant-api03-{BODY}-_AA", f"sk-ant-oat01-{BODY}"],
    "OpenAI key": [f"sk-proj-{BODY}"],
    "GitHub token": [f"ghp_{BODY[:36]}", f"ghs_{BODY[:36]}", f"github_pat_11A_{BODY}"],
    "GitLab token": [f"glpat-{BODY[:20]}"],
    "AWS key": ["AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "IOSFODNN7EXAMPLE"],
    "Google key": ["AIza" + BODY[:35]],
    "Slack token": [f"xoxb-12345-{BODY}", f"xapp-1-{BODY}"],
    "JWT": [JWT],
    "private key": [
        PEM,
        PEM.replace("RSA ", ""),
        PEM.replace("RSA ", "OPENSSH "),
        PEM.replace("\n", "\\n"),
        "".join(f"{number:>6}\t{line}\n" for number, line in enumerate(PEM.split("\n"), 1)).strip().removeprefix("1\t"),
    ],
}
EACH = [(name, key) for name, keys in KEYS.items() for key in keys]
INNOCENT = [
    "sk-ant-", "the prefix is sk-ant-…", "ghp_short", "AKIA", "AKIAIOSFODNN7EXAMPLEandmore1", "xoxo-", "eyJ", "eyJ.eyJ.eyJ",
    "grep '-----BEGIN RSA PRIVATE KEY-----' in all of the files", "Bearer of good news", "bearer authentication-and-more",
    "a plain sentence", "",
]  # fmt: skip


@pytest.mark.parametrize(("name", "key"), EACH)
@pytest.mark.parametrize("around", ["{}", "KEY={}", '"{}"', "x\n{}\ny", "https://u:{}@host/"])
def test_a_key_is_replaced_by_its_name_and_what_is_around_it_stays(name: str, key: str, around: str) -> None:
    text = redacted(around.format(key))
    assert f"[redacted: {name}]" in text
    assert text.rstrip() == around.format(f"[redacted: {name}]").rstrip()


@pytest.mark.parametrize("text", [f"Authorization: Bearer {BODY}", f"authorization: bearer {BODY}/x+y="])
def test_a_bearer_token_goes_and_its_header_stays(text: str) -> None:
    assert redacted(text) == text.partition(BODY)[0] + "[redacted: bearer token]"


def test_a_private_key_that_is_cut_off_goes_too() -> None:
    assert redacted(f"x {PEM.partition('-----END')[0]}") == "x [redacted: private key]"


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_a_key_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(("name", "key"), EACH)
def test_a_key_goes_wherever_it_stands_in_an_event(name: str, key: str) -> None:
    payload = {"message": {"content": [{"text": f"it is {key}"}, {key: [1, None, True, 1.5]}]}, "n": 2**60}
    kept = redacted(payload)
    assert key not in json.dumps(kept, ensure_ascii=False)
    assert kept["message"]["content"][1][f"[redacted: {name}]"] == [1, None, True, 1.5]
    assert kept["n"] == 2**60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([key for _, key in EACH]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(JSON)
def test_what_is_left_is_the_same_json_without_the_keys(value: object) -> None:
    kept = redacted(value)
    assert json.loads(json.dumps(kept)) == kept
    assert type(kept) is type(value)
    assert redacted(kept) == kept
    assert not any(key in json.dumps(kept) for _, key in EACH if "\n" not in key and "\\" not in key)


@pytest.mark.parametrize(
    "piece",
    [
        *HINTS,
        "eyJ.",
        "eyJ.eyJ.",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA",
        "Bearer  ",
        "bearer a-",
    ],
)
def test_a_long_hostile_text_takes_as_long_as_its_length_and_no_longer(piece: str) -> None:
    def took(length: int) -> float:
        text, best = (piece * length)[:length], 9.0
        for _ in range(3):
            begun = time.thread_time()
            redacted({"text": text})
            best = min(best, time.thread_time() - begun)
        return best

    # Eight times the length: 64 times the time, were it quadratic.
    assert took(800_000) < 30 * took(100_000) + 0.05


def test_an_event_is_cleared_in_the_container_before_it_is_cut() -> None:
    key = f"sk-ant-api03-{BODY}"
    line = {"type": "user", "text": "x" * (storable.LENGTHS[0] - 20) + key, "more": ["y" * 70_000] * 4}
    assert "sk-ant" not in json.dumps(storable.payload(line))


@pytest.mark.django_db(transaction=True)
def test_the_host_takes_no_key_over_whatever_a_harness_sends() -> None:
    agent = Agent.objects.create(name="scout")
    key = f"ghp_{BODY[:36]}"
    row = {"seq": 1, "turn": None, "at": "2026-01-01T00:00:00Z", "kind": "state"}
    Event.take_over(agent, [row | {"payload": {"state": "failing", "why": f"it had {key}"}}])
    begun = {"id": "turn-12345678", "number": 1, "started_at": datetime.now(UTC)}
    Turn.record("scout", begun | {"error": f"401 for {key}"})
    agent.refresh_from_db()
    stored = [json.dumps(Event.objects.get().payload), agent.why, Turn.objects.get().error]
    assert all("[redacted: GitHub token]" in text and key not in text for text in stored), stored
