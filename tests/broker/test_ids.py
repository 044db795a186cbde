"""Ids that grow with time."""

import time
import uuid

from broker.ids import new_id


def test_an_id_is_a_uuid_of_version_7_that_sorts_by_when_it_was_made() -> None:
    made = []
    for _ in range(5):
        made.append(new_id())
        time.sleep(0.002)
    assert sorted(made) == made
    one = uuid.UUID(made[0])
    assert (one.version, one.variant) == (7, uuid.RFC_4122)
    assert abs((one.int >> 80) / 1000 - time.time()) < 60
    assert len({new_id() for _ in range(1000)}) == 1000
