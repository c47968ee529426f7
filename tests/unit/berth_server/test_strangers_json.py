"""What would fill the memory is refused before it is built."""

import pytest

from berth_server import strangers_json


def test_json_is_read():
    assert strangers_json.loads(b'{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_one_kind_of_error(text):
    with pytest.raises(ValueError, match=r".+"):
        strangers_json.loads(text)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,"])
def test_more_values_than_any_model_has_are_not_built(piece):
    text = b"[" + piece * strangers_json.MAX_MARKS + b"1]"
    with pytest.raises(ValueError, match="more than 4000000 commas and brackets"):
        strangers_json.loads(text)


def test_a_long_text_with_few_values_is_read():
    text = b'["' + b"a" * strangers_json.MAX_MARKS + b'"]'
    assert len(strangers_json.loads(text)[0]) == strangers_json.MAX_MARKS
