"""For every test: its plugins, asserts that show their values, and hypothesis on a busy machine."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# pytest shows the values of its test files' asserts; of other modules only if it is told before
# they are imported, and a bare AssertionError of an invariant says nothing of what was found.
_HARNESS = Path(__file__).parent / "harness"
pytest.register_assert_rewrite("fakes", *(one.stem for one in _HARNESS.glob("*.py")))

pytest_plugins = ("no_skips", "real_cluster", "real_node", "waits")

# A busy machine is no finding. In CI hypothesis has such a profile of its own, which also repeats.
settings.register_profile("busy-machine", deadline=None)
if not os.environ.get("CI"):
    settings.load_profile("busy-machine")
