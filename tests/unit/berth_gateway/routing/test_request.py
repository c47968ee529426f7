import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import request
from berth_gateway.settings import Limits, MediaUrls

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
# Keys that engines may not see as numbers of answers, so that only `model` is in play.
KEYS = st.text().filter(lambda key: key not in {"model", "n", "best_of", "messages"})
SPACES = st.text(alphabet=" \t\r\n", max_size=3)


@st.composite
def written_bodies(draw: Any) -> str:
    """A JSON object with at least one `model`, in any spelling that JSON allows."""
    pairs = draw(st.lists(st.tuples(KEYS, JSON), max_size=5))
    names = draw(st.lists(st.text(min_size=1), min_size=1, max_size=3))
    for name in names:
        pairs.insert(draw(st.integers(0, len(pairs))), ("model", name))
    ascii_only = draw(st.booleans())
    space = draw(SPACES)
    parts = (
        f"{space}{_key(key, draw(st.booleans()))}{space}:{space}"
        f"{json.dumps(value, ensure_ascii=ascii_only)}{space}"
        for key, value in pairs
    )
    return f"{space}{{{','.join(parts)}}}{space}"


def _key(key: str, escaped: bool) -> str:
    if escaped and key == "model":
        return '"mod\\u0065l"'
    return json.dumps(key)


@given(written_bodies(), st.text(min_size=1))
def test_only_the_model_of_a_body_changes(text: str, name: str) -> None:
    raw = text.encode()
    body = request.parse(raw, Limits())

    assert body.model == json.loads(raw)["model"]
    assert json.loads(body.naming(name)) == json.loads(raw) | {"model": name}


@given(written_bodies())
def test_a_body_that_names_the_engines_model_goes_on_byte_by_byte(text: str) -> None:
    raw = text.encode()
    body = request.parse(raw, Limits())

    assert body.naming(body.model) is raw


@given(st.text(max_size=40) | st.from_regex(r'[{}\[\]:,"0-9a-z \\]{0,30}', fullmatch=True))
def test_what_json_refuses_is_refused_and_nothing_else(text: str) -> None:
    raw = text.encode()
    try:
        known = json.loads(raw)
    except (ValueError, RecursionError):
        known = None
    served = isinstance(known, dict) and isinstance(known.get("model"), str) and known["model"]
    if served:
        assert request.parse(raw, Limits()).model == known["model"]
    else:
        with pytest.raises(Refusal) as caught:
            request.parse(raw, Limits())
        assert caught.value.kind is Kind.BAD_REQUEST


def test_a_nested_model_is_left_alone() -> None:
    raw = b'{"metadata": {"model": "inner"}, "model": "outer" , "x": [{"model": "deep"}]}'
    named = request.parse(raw, Limits()).naming("engine")

    expected = b'{"metadata": {"model": "inner"}, "model": "engine" , "x": [{"model": "deep"}]}'
    assert named == expected


def test_of_two_models_the_last_counts_and_changes() -> None:
    body = request.parse(b'{"model":"first","model":"last"}', Limits())

    assert body.model == "last"
    assert body.naming("engine") == b'{"model":"first","model":"engine"}'


def test_a_name_that_needs_escapes_stays_one_json_string() -> None:
    named = request.parse(b'{"model":"a"}', Limits()).naming('x","n":9,"y\n')

    assert json.loads(named) == {"model": 'x","n":9,"y\n'}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"", "not valid JSON", id="nothing"),
        pytest.param(b"[]", "not valid JSON: Expecting '{'", id="a list"),
        pytest.param(b'{"model":"a"', "not valid JSON", id="cut off"),
        pytest.param(b'{"model":"a"} x', "Extra data", id="something behind"),
        pytest.param(b'{"model":"a",}', "not valid JSON", id="a comma too many"),
        pytest.param(b'{"a" 1}', "not valid JSON: Expecting ':'", id="no colon"),
        pytest.param(b'{1: 2, "model":"a"}', "property name", id="a number as a key"),
        pytest.param(b'\xff\xfe{"model":"a"}', "not UTF-8", id="UTF-16"),
        pytest.param(b'{"a":' + b"[" * 100_000, "nesting too deep", id="a depth bomb"),
        pytest.param(b'{"a":' + b"9" * 5_000 + b"}", "number is too long", id="a long number"),
        pytest.param(
            b'{"a":1' + b',"a":1' * 256 + b"}", "more than 256 fields", id="a wide object"
        ),
        pytest.param(b"{}", "you must provide a model", id="no model"),
        pytest.param(b'{"model": 7}', "you must provide a model", id="a number as model"),
        pytest.param(b'{"model": ""}', "you must provide a model", id="an empty model"),
    ],
)
def test_a_body_that_cannot_be_routed_is_a_400_that_says_why(raw: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=re.escape(words)) as caught:
        request.parse(raw, Limits())
    assert caught.value.status == 400


@pytest.mark.parametrize("value", ["129", "0", "-1", "1e9", '"200"', "true", "[1]"])
@pytest.mark.parametrize("name", ["n", "best_of"])
def test_more_answers_than_allowed_are_refused_in_any_spelling(name: str, value: str) -> None:
    raw = f'{{"model":"a","{name}":{value}}}'.encode()
    with pytest.raises(Refusal, match="integer from 1 to 128") as caught:
        request.parse(raw, Limits(choices=128))
    assert caught.value.param == name


@pytest.mark.parametrize("value", ["1", "128", "null"])
def test_as_many_answers_as_allowed_are_fine(value: str) -> None:
    request.parse(f'{{"model":"a","n":{value}}}'.encode(), Limits(choices=128))


def _with_image(url: str) -> bytes:
    part = {"type": "image_url", "image_url": {"url": url}}
    content = [{"type": "text", "text": "what is this? http://example.test"}, part]
    return json.dumps({"model": "a", "messages": [{"role": "user", "content": content}]}).encode()


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/", "https://example.test/a.png", "file:///etc/passwd", "", "DATA:x"],
)
def test_a_url_that_the_engine_would_fetch_is_refused(url: str) -> None:
    with pytest.raises(Refusal) as caught:
        request.parse(_with_image(url), Limits())
    assert caught.value.kind is Kind.UNSUPPORTED_MEDIA_URL
    assert caught.value.param == "messages[0].content[1].image_url"
    assert "data: URLs only" in caught.value.message


def test_the_short_form_of_a_media_part_is_seen_too() -> None:
    part = {"type": "audio_url", "audio_url": "http://example.test/a.wav"}
    raw = json.dumps({"model": "a", "messages": [{"content": [part]}]}).encode()
    with pytest.raises(Refusal):
        request.parse(raw, Limits())


def test_content_inside_the_request_passes() -> None:
    request.parse(_with_image("data:image/png;base64,AAAA"), Limits())


def test_any_url_passes_where_the_administrator_allows_it() -> None:
    request.parse(_with_image("https://example.test/a.png"), Limits(media_urls=MediaUrls.ANY))


@pytest.mark.parametrize(
    "messages", ['"x"', "[1]", '[{"content": "hi"}]', "null", '[{"content":[1]}]']
)
def test_messages_of_another_shape_are_the_engines_business(messages: str) -> None:
    request.parse(f'{{"model":"a","messages":{messages}}}'.encode(), Limits())


@pytest.mark.parametrize("unit", ["[],", '"a",', "1.5,", "[" * 9 + "]" * 9 + ","])
def test_millions_of_values_are_refused_before_they_are_built(unit: str) -> None:
    raw = f'{{"model":"a","messages":[{unit * 600_000}0]}}'.encode()
    with pytest.raises(Refusal) as caught:
        request.parse(raw, Limits())
    assert caught.value.kind is Kind.TOO_LARGE
    assert "500000 commas and brackets" in caught.value.message


def test_millions_of_messages_are_refused_before_they_are_built() -> None:
    raw = f'{{"model":"a","messages":[{"{}," * 2_000_000}{{}}]}}'.encode()
    with pytest.raises(Refusal, match="250000 opening braces") as caught:
        request.parse(raw, Limits())
    assert caught.value.kind is Kind.TOO_LARGE


def test_millions_of_numbers_pass() -> None:
    raw = f'{{"model":"a","prompt":[{"7," * 1_000_000}7]}}'.encode()
    assert request.parse(raw, Limits()).model == "a"


def test_a_long_text_with_as_many_marks_as_code_has_passes() -> None:
    raw = json.dumps({"model": "a", "prompt": "call(a[0], {b})\n" * 100_000}).encode()
    assert request.parse(raw, Limits()).model == "a"


def test_a_number_of_choices_too_deep_to_be_shown_is_refused_like_others() -> None:
    for depth in range(900, 1000):  # between what can be read and what can be written
        with pytest.raises(Refusal):
            request.parse(b'{"model":"a","n":' + b"[" * depth + b"]" * depth + b"}", Limits())
