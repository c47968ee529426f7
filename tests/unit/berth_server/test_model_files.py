import pytest

from berth_server import model_files
from berth_server.errors import EngineFailed


@pytest.mark.parametrize("below", ["", "tiny", "organisation/tiny"])
def test_the_model_is_found_at_most_two_levels_below(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    assert model_files.find(tmp_path) == folder


def test_the_nearest_model_wins(tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    assert model_files.find(tmp_path) == tmp_path


def test_two_models_are_one_too_many(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(EngineFailed, match="several models") as raised:
        model_files.find(tmp_path)
    assert raised.value.failure.reason == "NotFound"


def test_no_model_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(EngineFailed, match=r"no config\.json is in .* nor two levels below"):
        model_files.find(tmp_path)
