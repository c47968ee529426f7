from pathlib import Path

import pytest

from berth_operator import settings
from berth_operator.errors import ConfigurationError


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "word"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.yaml is no mapping"):
        settings.load({"BERTH_CONFIG": str(path)})
