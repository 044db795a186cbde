"""Processes to be killed, for a whole file of tests."""

from collections.abc import Iterator

import pytest

from .mortals import Mortals


@pytest.fixture(scope="module")
def mortals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortals]:
    mortals = Mortals(tmp_path_factory.mktemp("crash"))
    yield mortals
    mortals.close()
