"""Divides the time between the targets that are run."""

from collections.abc import Callable

import fuzzing
import pytest

_TARGETS = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = (getattr(item, "fixturenames", ()) for item in items)
    config.stash[_TARGETS] = sum("seconds" in one for one in named)


@pytest.fixture
def seconds(pytestconfig: pytest.Config) -> float:
    """This target's share."""
    return fuzzing.SECONDS / pytestconfig.stash[_TARGETS]


@pytest.fixture
def fuzz(seconds: float) -> Callable[[Callable[[], None]], None]:
    """Runs a target for its share of the time, and says how far it came."""

    def run(target: Callable[[], None]) -> None:
        count = fuzzing.for_seconds(seconds, target)
        print(f"{count} rounds of {fuzzing.EXAMPLES_OF_A_ROUND} examples")

    return run
