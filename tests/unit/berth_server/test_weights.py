import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_server import parts, weights
from standins import tiny_model


def test_a_real_header_is_read():
    content = tiny_model.safetensors(tiny_model.shapes())
    length = weights.header_bytes(content)
    tensors = weights.read(content[8 : 8 + length])
    assert tensors.bytes_by_dtype == {"BF16": tiny_model.total_bytes()}
    assert tensors.count == len(tiny_model.shapes())
    assert 8 + length + tensors.data_bytes == len(content)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\0" * 7,
        b"\0" * 8,
        b"\x01" + b"\0" * 7,
        b"\xff" * 8,
        (100_000_001).to_bytes(8, "little"),
    ],
)
def test_a_length_that_cannot_be_is_refused(start):
    with pytest.raises(weights.HeaderError):
        weights.header_bytes(start)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a": 1}',
        b'{"a": {"dtype": "BF16"}}',
        b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [4, 2]}}',
        b'{"a": {"dtype": "BF16", "shape": [-1], "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "BF16", "shape": [true], "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "BF16", "shape": 1, "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "BF16", "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [-4, 2]}}',
        b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2, 4]}}',
        b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 1e99]}}',
        b'{"a": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1' + b"0" * 350 + b"]}}",
        b'{"a": {"dtype": "I8", "shape": [%d], "data_offsets": [0, %d]}}' % (2**53, 2**53),
        b'{"x.A_log": {"dtype": "F32", "shape": [1%s], "data_offsets": [0, 4]}}'
        % (b",9007199" * 15),
        b'{"x.A_log": {"dtype": "NEW", "shape": [65], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 2]}}',
        b'{"' + b"x" * 513 + b'": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "", "shape": [1], "data_offsets": [0, 2]}}',
        b'{"a": {"dtype": "' + b"x" * 99 + b'", "shape": [1], "data_offsets": [0, 2]}}',
    ],
)
def test_a_hostile_header_is_refused(header):
    with pytest.raises(weights.HeaderError):
        weights.read(header)


def test_tensors_that_lie_over_one_another_are_refused():
    entry = {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}
    with pytest.raises(weights.HeaderError, match="over one another"):
        weights.read(json.dumps({"a": entry, "b": entry}).encode())


@pytest.mark.parametrize(
    ("dtype", "elements", "size"),
    [("F64", 1, 8), ("BF16", 3, 6), ("F8_E4M3", 5, 5), ("F6_E2M3", 4, 3), ("F4", 4, 2),
     ("NEW", 64, 8), ("NEW", 1, 64), ("BF16", 0, 0)],
)  # fmt: skip
def test_elements_take_the_bytes_that_they_are_given(dtype, elements, size):
    entry = {"dtype": dtype, "shape": [elements], "data_offsets": [0, size]}
    assert weights.read(json.dumps({"x" * 512: entry}).encode()).data_bytes == size


def test_a_long_name_is_matched_at_once():
    entry = {"dtype": "I8", "shape": [1]}
    names = [piece * (500 // len(piece)) for piece in ("experts.", "visual", "model.layers.1.")]
    header = {
        f"{name}{number}": entry | {"data_offsets": [at, at + 1]}
        for at, (name, number) in enumerate((name, n) for name in names for n in range(100))
    }
    started = time.process_time()
    assert weights.read(json.dumps(header).encode()).count == 300
    assert time.process_time() - started < 2


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(header):
    try:
        weights.read(header)
    except weights.HeaderError:
        return


SIZES = st.dictionaries(st.sampled_from(["BF16", "F32", "I8"]), st.integers(0, 2**60), max_size=3)


@given(SIZES, SIZES)
def test_files_add_up(first, second):
    total = weights.Tensors(first, 1, 10) + weights.Tensors(second, 2, 5)
    assert sum(total.bytes_by_dtype.values()) == sum(first.values()) + sum(second.values())
    assert (total.count, total.data_bytes) == (3, 15)


def test_an_index_names_its_shards():
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}}
    assert weights.indexed(json.dumps(index).encode()) == {"m-1.safetensors", "m-2.safetensors"}


def test_parts_add_up_to_the_whole():
    content = tiny_model.safetensors(tiny_model.shapes())
    length = weights.header_bytes(content)
    tensors = weights.read(content[8 : 8 + length], parts.facts(tiny_model.CONFIG))
    by_part = tensors.bytes_by_part
    assert {"embedding", "keyValue", "linear", "replicated"} <= by_part.keys()
    assert sum(sum(sizes.values()) for sizes in by_part.values()) == tiny_model.total_bytes()


def test_an_index_gives_the_total():
    assert weights.total_bytes(b'{"metadata": {"total_size": 42}}') == 42
    assert weights.total_bytes(b'{"metadata": {"total_size": 42.0}}') == 42


@pytest.mark.parametrize(
    "total", [b"-1", b"0", b'"9"', b"null", b"1e99", b"NaN", b"true", b"[1]", b"1" + b"0" * 30]
)
def test_a_total_that_cannot_be_is_not_said(total):
    assert weights.total_bytes(b'{"metadata": {"total_size": %b}}' % total) is None


@pytest.mark.parametrize("index", [b"", b"[]", b"{}", b'{"metadata": 3}', b"[" * 100_000])
def test_an_index_may_give_no_total(index):
    assert weights.total_bytes(index) is None


@pytest.mark.parametrize("index", [b"", b"{}", b"[]", b'{"weight_map": 3}', b'{"weight_map": {}}'])
def test_an_unreadable_index_restricts_nothing(index):
    assert weights.indexed(index) is None
