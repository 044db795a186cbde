import json

from hypothesis import given
from hypothesis import strategies as st

from broker.wire import LINE, decode, encode
from harness.storable import ROW, payload, size, storable


def test_a_line_that_fits_is_kept_as_it_is() -> None:
    line = {"type": "assistant", "message": {"content": [{"text": "häßlich \\u0000 ok"}]}}
    assert payload(line) == line


def test_a_long_line_keeps_its_shape_and_its_head() -> None:
    cut = payload({"type": "user", "message": {"content": [{"type": "tool_result", "content": "x" * 900_000}]}})
    assert cut["cut"] > 900_000
    assert cut["message"]["content"][0]["content"].startswith("xxx")
    assert size(cut) <= ROW


def test_a_line_of_many_short_pieces_is_cut_too() -> None:
    cut = payload({"type": "user", "list": ["x" * 100] * 10_000})
    assert cut["type"] == "user"
    assert size(cut) <= ROW


def test_a_line_that_is_nested_without_end_is_cut_to_its_type() -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert payload({"type": "user", "deep": deep})["type"] == "user"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(categories=None)) | st.floats(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
)


@given(st.dictionaries(st.text(st.characters(categories=None), max_size=8), JSON, max_size=5))
def test_whatever_claude_prints_the_host_takes(line: dict) -> None:
    sent = encode({"payload": payload(line)})
    assert len(sent) < LINE
    assert decode(sent)["payload"] == json.loads(sent)["payload"]


def test_words_about_nul_are_no_nul() -> None:
    line = {"text": r"\u0000 and \\u0000 and \ud800"}
    assert decode(encode({"payload": payload(line)}))["payload"] == line


def test_nul_and_lone_surrogates_are_replaced() -> None:
    assert storable({"a\0": ["\ud800", 1]}) == {"a\ufffd": ["?", 1]}
