"""What several tests need: a hive, and the model that its agents think with."""

from collections.abc import Callable, Iterator

import pytest

from hyperhive.demo.model import ScriptedModel
from hyperhive.demo.rules import Rule

from .hives import Hive


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel([]) as model:
        yield model


@pytest.fixture
def hive(model: ScriptedModel) -> Iterator[Callable[..., Hive]]:
    """`hive(*rules, **environment)` starts one whose model follows these rules."""
    hives: list[Hive] = []

    def make(*rules: Rule, driver: str = "bwrap", **environment: str) -> Hive:
        model.rules.extend(rules)
        hives.append(Hive(model.url, driver, **environment))
        return hives[-1].start()

    yield make
    for one in hives:
        one.close()
