"""Records of what engines took: small, few, and harmless when someone edits them."""

import json
from typing import Any

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.shape import ShapeReport
from berth_api.spec import Spec
from berth_operator.core.planner import learned
from berth_operator.core.planner.learned import Correction, Question, Record

MIB, GIB = 2**20, 2**30

QUESTION = Question(
    shape="a" * 16,
    accelerator="h100",
    card_bytes=80 * GIB,
    tensor_parallel=1,
    image="example.test/vllm-openai:1",
    dtype="bfloat16",
    kv_dtype="auto",
    sequences=256,
    tokens=8192,
    arguments="b" * 16,
)


def record(extra_bytes: int = GIB, **changes: Any) -> Record:
    of_question = {name: getattr(QUESTION, name) for name in QUESTION.__dataclass_fields__}
    fields = {"model": "hf://a/b", "extra_bytes": extra_bytes, "at": "2026-01-02T03:04:05Z"}
    return Record(**{**of_question, **fields, **changes})


def known(*records: Record) -> dict[str, Record]:
    return {one.key: one for one in records}


def test_what_was_measured_of_the_very_same_is_reserved() -> None:
    found = learned.correction(known(record(GIB)), QUESTION)
    assert found == Correction(GIB, "Measured on 2026-01-02")


@pytest.mark.parametrize(
    "other",
    [
        {"shape": "c" * 16},
        {"accelerator": "l40s"},
        {"tensor_parallel": 2},
        {"image": "example.test/vllm-openai:2"},
        {"card_bytes": 96 * GIB},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_model_card_size_or_engine_is_another_question(other: dict[str, Any]) -> None:
    assert learned.correction(known(record(**other)), QUESTION) is None


def test_cards_of_one_name_differ_a_little_by_driver() -> None:
    assert learned.correction(known(record(card_bytes=79 * GIB)), QUESTION) is not None


OTHER_WORKLOADS: list[dict[str, Any]] = [
    {"sequences": 128},
    {"tokens": 2048},
    {"dtype": "float32"},
    {"kv_dtype": "fp8"},
    {"arguments": "c" * 16},
]


@pytest.mark.parametrize("other", OTHER_WORKLOADS, ids=lambda change: next(iter(change)))
def test_of_another_workload_only_more_is_believed(other: dict[str, Any]) -> None:
    assert learned.correction(known(record(GIB, **other)), QUESTION) is not None
    assert learned.correction(known(record(-4 * GIB, **other)), QUESTION) is None
    assert record(**other).key != record().key


def test_the_very_same_batch_is_believed_before_a_younger_record_of_another() -> None:
    records = known(record(GIB), record(2 * GIB, sequences=64, at="2026-02-02T03:04:05Z"))
    found = learned.correction(records, QUESTION)
    assert found is not None
    assert found.extra_bytes == GIB


def test_what_lacked_outside_is_not_paid_by_a_credit_inside() -> None:
    found = learned.correction(known(record(-2 * GIB, outside_bytes=GIB)), QUESTION)
    assert found is not None
    assert found.extra_bytes == -2 * GIB + 150 * MIB
    assert found.outside_bytes == GIB


def test_what_lacked_outside_at_one_batch_lacks_at_any_other() -> None:
    failed = record(0, sequences=64, outside_bytes=GIB, reason="OutOfMemory")
    found = learned.correction(known(record(-2 * GIB), failed), QUESTION)
    words = "Measured on 2026-01-02, OutOfMemory on 2026-01-02"
    assert found == Correction(-2 * GIB + 150 * MIB, words, outside_bytes=GIB)


def test_a_credit_keeps_the_engines_own_margin() -> None:
    found = learned.correction(known(record(-2 * GIB)), QUESTION)
    assert found is not None
    assert found.extra_bytes == -2 * GIB + 150 * MIB


def test_a_credit_smaller_than_the_margin_is_none() -> None:
    assert learned.correction(known(record(-150 * MIB)), QUESTION) is None


def test_a_credit_of_half_a_card_is_a_mistake_and_not_believed_whole() -> None:
    found = learned.correction(known(record(-40 * GIB)), QUESTION)
    assert found is not None
    assert found.extra_bytes >= -8 * GIB


@given(st.integers(-80 * GIB, 80 * GIB))
def test_no_correction_says_more_than_its_record(extra: int) -> None:
    found = learned.correction(known(record(extra)), QUESTION)
    if extra > 0:
        assert found is not None
        assert found.extra_bytes == extra
    elif found is not None:
        assert extra + learned.CREDIT_MARGIN_BYTES <= found.extra_bytes < 0


def test_what_is_written_is_read_again() -> None:
    one = record(outside_bytes=GIB, reason="OutOfMemory")
    assert learned.parse({one.key: learned.encoded(one)}) == (known(one), {})


ONE = record()
BROKEN = {
    "no JSON": "hello",
    "another type": "[1, 2]",
    "a word for a number": learned.encoded(ONE).replace(str(GIB), '"much"'),
    "a field is missing": json.dumps({"model": "hf://a/b"}),
    "more than the card": learned.encoded(record(81 * GIB)),
    "more than the card outside": learned.encoded(record(outside_bytes=81 * GIB)),
    "less than nothing outside": learned.encoded(ONE).replace(':0,"reason', ':-1,"reason'),
    "too long": " " * learned.MAX_RECORD_CHARACTERS + learned.encoded(ONE),
    "under another key": learned.encoded(record(tensor_parallel=4)),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_record_is_ignored_with_a_reason(text: str) -> None:
    other = record(tensor_parallel=2)
    records, broken = learned.parse({ONE.key: text, other.key: learned.encoded(other)})
    assert records == known(other)
    assert broken[ONE.key]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=300), max_size=8))
def test_any_config_map_is_read_without_an_error(data: dict[str, str]) -> None:
    records, broken = learned.parse(data)
    assert records.keys() | broken.keys() == data.keys()


def test_the_same_measurement_is_written_once() -> None:
    assert set(learned.changes({}, [ONE])) == {ONE.key}
    again = record(GIB + learned.TOLERANCE_BYTES, at="2026-03-02T03:04:05Z")
    assert learned.changes(known(ONE), [again]) == {}


def test_a_plan_that_was_right_teaches_nothing() -> None:
    assert learned.changes({}, [record(learned.TOLERANCE_BYTES)]) == {}


def test_a_measurement_that_moved_replaces_the_old_one() -> None:
    moved = record(0)
    assert learned.changes(known(ONE), [moved]) == {moved.key: learned.encoded(moved)}


@given(st.integers(-80 * GIB, 80 * GIB), st.integers(0, 80 * GIB))
def test_nothing_that_is_measured_lowers_what_lacked_outside(extra: int, outside: int) -> None:
    before = record(GIB, outside_bytes=GIB, reason="OutOfMemory")
    # A share of three digits, multiplied and divided again, is a few bytes off.
    after = record(extra, outside_bytes=outside, card_bytes=80 * GIB + 1)
    data = {before.key: learned.encoded(before)} | learned.changes(known(before), [after])
    (kept,) = learned.parse({key: text for key, text in data.items() if text})[0].values()
    assert kept.outside_bytes == max(GIB, outside)


def test_a_card_that_grew_is_measured_anew_with_all_that_lacked() -> None:
    before = record(GIB, outside_bytes=GIB)
    grown = record(GIB, card_bytes=96 * GIB)
    assert learned.changes(known(before), [grown]) == {grown.key: learned.encoded(grown)}


def test_a_lack_outside_alone_is_news() -> None:
    one = record(0, outside_bytes=GIB)
    assert learned.changes({}, [one]) == {one.key: learned.encoded(one)}


def test_a_full_memory_forgets_the_oldest() -> None:
    many = [
        record(tensor_parallel=number, at=f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z")
        for number in range(1, learned.MAX_RECORDS + 1)
    ]
    new = record(tensor_parallel=learned.MAX_RECORDS + 1)
    assert learned.changes(known(*many), [new]) == {
        new.key: learned.encoded(new),
        many[0].key: None,
    }


def test_the_whole_memory_fits_one_config_map() -> None:
    """1 MiB of keys and values, as Kubernetes counts them."""
    longest = record(
        model="m" * 512,
        accelerator="a" * 63,
        image="i" * 512,
        reason="KVCacheTooSmall",
        extra_bytes=-(80 * GIB),
        outside_bytes=80 * GIB,
    )
    text = learned.encoded(longest)
    assert len(text) <= learned.MAX_RECORD_CHARACTERS
    assert learned.MAX_RECORDS * (learned.MAX_RECORD_CHARACTERS + len(longest.key)) < MIB


def test_the_same_model_from_elsewhere_has_the_same_shape() -> None:
    report = ShapeReport.model_validate(builders.SMOLLM2_REPORT)
    elsewhere = report.model_copy(update={"commit": "other", "fileBytes": 7})
    assert learned.shape_of(report) == learned.shape_of(elsewhere)
    quantised = report.model_copy(update={"tensorBytes": {"F8_E4M3": 1}})
    assert learned.shape_of(report) != learned.shape_of(quantised)


def test_only_the_flags_of_a_spec_are_not_in_its_plan() -> None:
    def arguments(**runtime: Any) -> str:
        spec = {"model": {"source": "hf://a/b"}, "runtime": runtime}
        return learned.arguments_of(Spec.model_validate(spec))

    assert arguments() == arguments(maxModelLen=4096, maxNumSeqs=8)
    assert arguments() != arguments(extraArgs=["--x"])


def test_adapters_are_another_workload_whatever_they_are_called() -> None:
    def arguments(**adapters: str) -> str:
        given = [{"name": name, "source": source} for name, source in adapters.items()]
        spec = {"model": {"source": "hf://a/b"}, "adapters": given}
        return learned.arguments_of(Spec.model_validate(spec))

    assert arguments(a="hf://a/x", b="hf://a/y") == arguments(c="hf://a/y", d="hf://a/x")
    assert len({arguments(), arguments(a="hf://a/x"), arguments(a="hf://a/y")}) == 3


def test_a_shape_is_the_same_after_the_api_server_has_stored_it() -> None:
    config = {"rope_theta": 10000.0, "rope_scaling": {"factor": 8.0, "beta": [1.0, 0.5]}}
    back = {"rope_theta": 10000, "rope_scaling": {"factor": 8, "beta": [1, 0.5]}}
    fresh, stored = (ShapeReport(config=one, tensorBytes={"BF16": 1}) for one in (config, back))
    assert learned.shape_of(fresh) == learned.shape_of(stored)
    other = ShapeReport(config=back | {"rope_theta": 20000}, tensorBytes={"BF16": 1})
    assert learned.shape_of(other) != learned.shape_of(stored)
