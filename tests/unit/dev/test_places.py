from pathlib import Path

import pytest

from dev import places
from dev.errors import DevError


def test_a_claimed_folder_is_removed(tmp_path: Path) -> None:
    places.claim(tmp_path / "state")
    places.claim(tmp_path / "state")
    places.remove(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_somebody_elses_folder_is_neither_claimed_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DevError, match="refusing"):
        places.claim(tmp_path)
    with pytest.raises(DevError, match="refusing"):
        places.remove(tmp_path)
