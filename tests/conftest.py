"""For every test: nothing passes in CI because it was skipped."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

CI = bool(os.environ.get("CI"))

# A busy machine is no finding. In CI hypothesis has such a profile of its own, which also repeats.
settings.register_profile("busy-machine", deadline=None)
if not CI:
    settings.load_profile("busy-machine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _as_failure((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _as_failure((yield))


def _as_failure(report: Any) -> Any:
    """A skipped test or module as a failed one; an expected failure stays what it is."""
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report
