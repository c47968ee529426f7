import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Refusal
from berth_gateway.routing import request

TYPE = b'multipart/form-data; boundary="b0undary"'
FILE = b"RIFF\r\n--not the b0undary\r\n\x00\xff"


def _part(name: str, value: bytes, more: bytes = b"") -> bytes:
    return b'--b0undary\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (
        name.encode(), more, value,
    )  # fmt: skip


def _form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b0undary--\r\n"


def _file(content: bytes = FILE) -> bytes:
    return _part("file", content, b'; filename="a.wav"\r\nContent-Type: audio/wav')


def test_the_model_of_a_form_is_read_and_its_bytes_go_on() -> None:
    raw = _form(_file(), _part("model", b"whisper"), _part("stream", b"true"))
    body = request.parse_form(raw, TYPE)

    assert (body.model, body.stream, body.prefix) == ("whisper", True, b"")
    assert body.naming("whisper") is raw


@given(
    st.binary(max_size=200),
    st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1),
)
def test_only_the_model_of_a_form_changes(content: bytes, name: str) -> None:
    raw = _form(_part("model", b"alias"), _file(content))
    try:
        body = request.parse_form(raw, TYPE)
    except Refusal:  # the content holds the boundary
        assert b"b0undary" in content
        return

    assert body.naming(name) == _form(_part("model", name.encode()), _file(content))


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        pytest.param(_form(_file()), TYPE, "must provide a model", id="no model"),
        pytest.param(_form(_part("model", b"")), TYPE, "must provide a model", id="empty"),
        pytest.param(_form(_part("model", b"\xff")), TYPE, "must provide a model", id="no text"),
        pytest.param(
            _form(_part("model", b"a"), _part("model", b"b")), TYPE, "model twice", id="two models"
        ),
        pytest.param(b"{}", b"application/json", "must be multipart/form-data", id="JSON"),
        pytest.param(b"", b"multipart/form-data", "with a boundary", id="no boundary"),
        pytest.param(b"--b0undary\r\nnonsense", TYPE, "must provide a model", id="cut off"),
        pytest.param(b"nonsense", TYPE, "not a valid form", id="nonsense"),
        pytest.param(
            _form(*[_part("a", b"") for _ in range(65)]), TYPE, "more than 64 parts", id="parts"
        ),
    ],
)
def test_a_form_that_cannot_be_routed_is_a_400_that_says_why(raw, kind, words) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        request.parse_form(raw, kind)
    assert caught.value.status == 400
