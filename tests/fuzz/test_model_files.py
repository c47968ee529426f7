"""A stranger's config.json, safetensors headers and index: a plan, or a typed reason for none."""

import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzzing
import planning
import schema_values
from hypothesis import given
from hypothesis import strategies as st

from berth_api.shape import MOST_BYTES, Failure, ShapeReport
from berth_operator.core.model import architecture
from berth_operator.core.planner import fit
from berth_server import shape, termination
from berth_server.errors import EngineFailed, SourceError
from berth_server.weights import MAX_HEADER_BYTES
from standins import tiny_model

Fuzz = Callable[[Callable[[], None]], None]

TINY = tiny_model.files()
CONFIG: dict[str, Any] = json.loads(TINY["config.json"])
(_LENGTH,) = struct.unpack("<Q", TINY["model.safetensors"][:8])
HEADER: dict[str, Any] = json.loads(TINY["model.safetensors"][8 : 8 + _LENGTH])
TENSORS = sorted(name for name in HEADER if name != "__metadata__")

NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**400, 1.5, True, None, "8"])
CONFIG_KEYS = st.sampled_from(
    [*sorted(CONFIG), "quantization_config", "text_config", "rope_scaling"]
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["BF16", "F32", "U8", "F4", "NEW", "", "x" * 99, 7]),
        "shape": st.lists(NUMBERS, max_size=4) | st.just([1] * 99) | NUMBERS,
        "data_offsets": st.lists(NUMBERS, max_size=3)
        | st.sampled_from([[0, 2], [2, 0], [0, 2**63]]),
    },
)
LENGTHS = st.sampled_from(
    [0, 1, 2, 2**31, MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1, 2**63, 2**64 - 1]
)
BREAKS = st.sampled_from([b"", b"\x00", b"\xff", b"{", b"[" * 3000, b'"a":1,', b'{"a":{}', b"NaN"])


@st.composite
def configurations(draw: st.DrawFn) -> bytes:
    changes = draw(st.dictionaries(CONFIG_KEYS, NUMBERS | schema_values.ANYTHING, max_size=3))
    return _cut(draw, json.dumps(CONFIG | changes).encode())


@st.composite
def weights_files(draw: st.DrawFn) -> bytes:
    """A header with tensors that lie over one another, of no known type, larger than the file."""
    changes = draw(
        st.dictionaries(st.sampled_from(TENSORS) | st.text(max_size=600), ENTRIES, max_size=3)
    )
    header = _cut(draw, json.dumps(HEADER | changes).encode())
    if draw(st.booleans()):  # twice the same key
        header = header.replace(b"{", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},', 1)
    length = draw(st.just(len(header)) | st.just(len(header)) | LENGTHS)
    return struct.pack("<Q", length) + header


def _cut(draw: st.DrawFn, text: bytes) -> bytes:
    """As it is, or with something else in the place of some of it."""
    if draw(st.booleans()):
        return text
    start = draw(st.integers(0, len(text)))
    return (
        text[:start]
        + draw(BREAKS | st.binary(max_size=4))
        + text[start + draw(st.integers(0, 99)) :]
    )


INDEXES = st.none() | st.dictionaries(
    st.sampled_from(["weight_map", "metadata"]),
    st.dictionaries(
        st.sampled_from(["total_size", "a", "b"]),
        st.sampled_from(["model.safetensors", "../../etc/passwd", "absent.safetensors"]) | NUMBERS,
    )
    | schema_values.ANYTHING,
).map(lambda index: json.dumps(index).encode())


def test_any_model_is_planned_or_refused_with_a_reason(fuzz: Fuzz) -> None:
    offers = (planning.gpu(), planning.cpu())

    @fuzzing.rounds()
    @given(configurations(), weights_files(), INDEXES, st.booleans())
    def read(config: bytes, weights: bytes, index: bytes | None, whole: bool) -> None:
        report = _report(config, weights, index, whole=whole)
        if isinstance(report, Failure):
            assert report.message
            assert report.fix
            return
        assert all(0 <= size <= MOST_BYTES for size in report.tensorBytes.values())
        written = termination.encode(report)
        assert len(written) <= termination.MAX_BYTES
        model = architecture.read(ShapeReport.model_validate_json(written))
        if not isinstance(model, Failure):
            fit.choose(model, offers, planning.spec())

    fuzz(read)


def _report(config: bytes, weights: bytes, index: bytes | None, *, whole: bool) -> Any:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_bytes(config)
        (folder / "model.safetensors").write_bytes(weights)
        if index is not None:
            (folder / "model.safetensors.index.json").write_bytes(index)
        try:
            return shape.from_folder(folder, whole=whole)
        except (SourceError, EngineFailed) as refused:
            return refused.failure
