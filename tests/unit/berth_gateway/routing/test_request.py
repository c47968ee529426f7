import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import bounds, request
from berth_gateway.settings import Limits, MediaUrls

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
# Keys that engines may not see as numbers of answers, so that only `model` is in play.
READ = {"model", "messages", "keep_alive", "ttl", *bounds.FIELDS}
KEYS = st.text().filter(lambda key: key not in READ)
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


@given(written_bodies(), st.text(min_size=1), st.text(min_size=1))
def test_a_body_that_was_named_can_be_named_again(text: str, first: str, name: str) -> None:
    raw = request.parse(text.encode(), Limits()).naming(first)

    again = request.renamed(raw, name, form_type=None)
    assert json.loads(again) == json.loads(raw) | {"model": name}


def test_a_body_that_only_pythons_parser_takes_can_be_named_again() -> None:
    raw = b'{"temperature": NaN, "model": "llama"}'

    assert request.renamed(raw, "a1", form_type=None) == b'{"temperature": NaN, "model": "a1"}'


def test_a_form_can_be_named_again() -> None:
    kind = b"multipart/form-data; boundary=x"
    raw = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nllama\r\n--x--\r\n'

    assert request.renamed(raw, "a1", form_type=kind) == raw.replace(b"llama", b"a1")


def test_a_nested_model_is_left_alone() -> None:
    raw = b'{"metadata": {"model": "inner"}, "model": "outer" , "x": [{"model": "deep"}]}'
    named = request.parse(raw, Limits()).naming("engine")

    expected = b'{"metadata": {"model": "inner"}, "model": "engine" , "x": [{"model": "deep"}]}'
    assert named == expected


def test_a_name_that_overlaps_itself_in_the_text_changes_in_its_place() -> None:
    body = request.parse(b'{"model":":"}', Limits())

    assert body.naming("engine") == b'{"model":"engine"}'


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
        pytest.param(b'{"a":' + b"[" * 100_000, "more than 64 deep", id="a depth bomb"),
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


def _deep(depth: int, opening: str, closing: str, middle: str = "1") -> bytes:
    """A body with `depth` values one in another, itself among them."""
    return f'{{"model":"a","x":{opening * (depth - 1)}{middle}{closing * (depth - 1)}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}")])
def test_values_lie_as_deep_as_the_limit_and_no_deeper(opening: str, closing: str) -> None:
    limits = Limits(json_depth=20)

    assert request.parse(_deep(20, opening, closing), limits).model == "a"
    with pytest.raises(Refusal, match="more than 20 deep") as caught:
        request.parse(_deep(21, opening, closing), limits)
    assert caught.value.status == 400


@given(JSON, st.integers(1, 6))
def test_a_body_is_as_deep_as_its_deepest_value(value: Any, limit: int) -> None:
    raw = json.dumps({"model": "a", "x": value}).encode()
    if _depth(json.loads(raw)) <= limit:
        assert request.parse(raw, Limits(json_depth=limit)).model == "a"
    else:
        with pytest.raises(Refusal, match=f"more than {limit} deep"):
            request.parse(raw, Limits(json_depth=limit))


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, (list, dict)) else 0


@pytest.mark.parametrize(
    "text", ["[" * 5000, '\\"[{' * 5000, "\\\\" * 7 + "[" * 999, '{"a": [' * 999]
)
def test_brackets_in_a_text_are_not_depth(text: str) -> None:
    raw = json.dumps({"model": "a", "prompt": text, "x": [{}, [{}]] * 50}).encode()

    assert request.parse(raw, Limits(json_depth=5)).model == "a"


def test_an_array_of_millions_of_arrays_is_refused_before_it_is_read() -> None:
    with pytest.raises(Refusal, match="500000 commas and brackets") as caught:
        request.parse(_deep(1_000_000, "[", "]"), Limits())
    assert caught.value.kind is Kind.TOO_LARGE


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, None),
        ({"ttl": None, "keep_alive": None}, None),
        ({"ttl": 60}, 60.0),
        ({"keep_alive": "5m"}, 300.0),
        ({"ttl": 60, "keep_alive": "5m"}, 300.0),
        ({"ttl": -1, "keep_alive": 0}, -1.0),
    ],
)
@pytest.mark.parametrize("more", [{}, {"x": float("nan")}], ids=["fast", "lenient"])
def test_how_long_the_model_is_to_stay_is_read_and_left_in_the_body(fields, seconds, more) -> None:
    raw = json.dumps({"model": "llama", **fields, **more}).encode()
    body = request.parse(raw, Limits())

    assert body.keep == seconds
    assert body.raw == raw


@pytest.mark.parametrize("fields", [{"ttl": "5m"}, {"ttl": True}, {"keep_alive": "soon"}])
def test_a_time_that_is_none_is_refused(fields) -> None:
    with pytest.raises(Refusal) as refused:
        request.parse(json.dumps({"model": "llama", **fields}).encode(), Limits())
    assert refused.value.param in fields
