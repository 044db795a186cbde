"""A turn that prints far more than is kept: nothing of it is lost, and neither process grows with it."""

from tests.bench.bench_events import streamed


def test_twenty_megabytes_in_one_turn_are_stored_to_the_last_line_in_little_memory() -> None:
    seen = streamed(20, budget=4)
    assert seen.outcome == "ok"
    assert seen.whole(), (seen.gap, len(seen.filed), len(seen.kept), seen.files)
    assert sum(row.kind == "user" for row in seen.filed) > 700, "most of it is over the budget"
    assert all(name.endswith(".jsonl.gz") for name in seen.files), "a file per day"
    assert seen.seconds < 10
    assert seen.harness.most - seen.harness.before < 16, "MiB"
    assert seen.daemon.most - seen.daemon.before < 64, "MiB"
