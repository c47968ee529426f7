"""The rule that CI skips nothing, tried in a pytest of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "harness" / "no_skips.py"
SKIPPED = """
import pytest

@pytest.mark.skip(reason="no helm here")
def test_one(): ...

@pytest.mark.xfail(reason="known", strict=True)
def test_two(): assert False
"""


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_a_skip_fails_in_ci_only_and_an_expected_failure_never(tmp_path, ci, status):
    shutil.copy(PLUGIN, tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(SKIPPED)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        env=os.environ | {"CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert ("no helm here" in done.stdout) is bool(ci)
