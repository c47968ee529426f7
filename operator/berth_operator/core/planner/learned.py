"""What engines were seen to take beyond the plan, kept for the next plan of the same model. Pure.

A record is two differences in bytes. Inside its share of a card: what the engine took beside its
weights and its KV cache, less what had been planned for that. Outside: what it took and did not
count. They are never netted, for a start that leaves more to the KV cache says nothing of what the
engine does not count. Its key is all that they depend on: the model's shape, the accelerator, the
tensor-parallel size, the engine's image, the types and the batch that it was started with.
Records are few and small, so that one ConfigMap holds them; who edits it by hand breaks no plan.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, ValidationError

from berth_api.shape import ShapeReport
from berth_api.spec import ApiModel, Spec
from berth_operator.core.digest import digest

_MIB: Final = 2**20

# More models, cards and sizes than one cluster serves with one engine version. At most 2 KiB each,
# they fill half of a ConfigMap (1 MiB, validation.ValidateConfigMap of Kubernetes).
MAX_RECORDS: Final = 256
MAX_RECORD_CHARACTERS: Final = 2048
_MAX_NAME_CHARACTERS: Final = 512
_MAX_TYPE_CHARACTERS: Final = 32
_KEY_CHARACTERS: Final = 16  # 64 bits: two of 256 never meet by chance

# Two starts of one engine differ by less: the driver's context and the allocator's rounding. The
# engine's own log is in steps of 10 MiB.
TOLERANCE_BYTES: Final = 64 * _MIB
# What the engine itself leaves beside a measurement, because "the memory profiling may slightly
# underestimate" (vllm/v1/worker/gpu_worker.py, compile_or_warm_up_model, 0.32).
CREDIT_MARGIN_BYTES: Final = 150 * _MIB
# A credit beyond this share of a card is no measurement of reserves, but a mistake.
_LARGEST_CREDIT_PERCENT: Final = 10
# Cards of one name differ by driver and by ECC; those of another size differ by a fifth and more.
_SAME_CARD_PERCENT: Final = 2

MEASURED: Final = "Measured"


@dataclass(frozen=True)
class Correction:
    """What a plan must reserve more (or, below 0, may reserve less) than it computes, on one rank.

    `extra_bytes` are inside the engine's share of a card. `outside_bytes`, never below 0, it does
    not count when it sizes its KV cache, so its share must shrink by them. `longest_tokens`: no
    context beyond it, whatever the bytes say.
    """

    extra_bytes: int
    source: str
    outside_bytes: int = 0
    longest_tokens: int | None = None


class Record(ApiModel):
    """One value of the ConfigMap, as JSON."""

    model: str = Field(max_length=_MAX_NAME_CHARACTERS, description="For people: the source.")
    shape: str = Field(max_length=_KEY_CHARACTERS)
    accelerator: str = Field(max_length=_MAX_NAME_CHARACTERS)
    card_bytes: int = Field(gt=0)
    tensor_parallel: int = Field(gt=0)
    image: str = Field(max_length=_MAX_NAME_CHARACTERS)
    dtype: str = Field(max_length=_MAX_TYPE_CHARACTERS)
    kv_dtype: str = Field(max_length=_MAX_TYPE_CHARACTERS)
    sequences: int = Field(gt=0)
    tokens: int = Field(gt=0)
    arguments: str = Field(max_length=_KEY_CHARACTERS)
    extra_bytes: int
    outside_bytes: int = Field(default=0, ge=0)
    reason: str = Field(default=MEASURED, max_length=64, description="Measured, or the failure's.")
    at: str = Field(max_length=32, description="RFC 3339 in UTC, which sorts as text.")

    @property
    def key(self) -> str:
        """Of everything that the difference depends on, but the card's size.

        A card that grew under the same name is measured anew, and its old record is of no use.
        """
        return digest([*_engine(self), *_workload(self)])[:_KEY_CHARACTERS]


@dataclass(frozen=True)
class Question:
    """What is planned: the record that answers it was measured under the same.

    Nothing in it is `auto`: what auto became is what an engine was started with.
    """

    shape: str
    accelerator: str
    card_bytes: int  # of one rank
    tensor_parallel: int
    image: str
    dtype: str
    kv_dtype: str  # `auto` is the dtype
    sequences: int  # max_num_seqs
    tokens: int  # max_num_batched_tokens
    arguments: str


def _engine(one: Record | Question) -> tuple[str | int, ...]:
    return one.shape, one.accelerator, one.tensor_parallel, one.image


def _workload(one: Record | Question) -> tuple[str | int, ...]:
    return one.dtype, one.kv_dtype, one.sequences, one.tokens, one.arguments


def shape_of(report: ShapeReport) -> str:
    """Of what decides memory: a fine-tune, or the same model from elsewhere, has the same."""
    known = report.model_dump(
        mode="json", exclude={"commit", "fileBytes", "failure"}, exclude_none=True
    )
    return digest(_stored(known))[:_KEY_CHARACTERS]


def _stored(value: Any) -> Any:
    """As the API server gives it back: it writes 10000.0 as 10000."""
    if isinstance(value, dict):
        return {key: _stored(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_stored(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def arguments_of(spec: Spec) -> str:
    """Of the user's own flags and adapters, which may change what the engine takes."""
    adapters = sorted(one.source for one in spec.adapters)
    return digest([*spec.runtime.extra_args, *adapters])[:_KEY_CHARACTERS]


def correction(records: Mapping[str, Record], question: Question) -> Correction | None:
    """Inside, the record of the very same workload; of another one only where it says "more".

    Outside, the most that was ever lacking: that is known from failures alone, and no start that
    went well says how little would have done.
    """
    alike = [one for one in records.values() if _alike(one, question)]
    inside = _inside(alike, question)
    outside = max(alike, key=lambda one: (one.outside_bytes, one.at), default=None)
    extra = 0 if inside is None else _believed(inside)
    beside = 0 if outside is None else outside.outside_bytes
    sources = [
        *([inside] if inside is not None and extra else []),
        *([outside] if outside is not None and beside else []),
    ]
    words = dict.fromkeys(f"{one.reason} on {one.at[:10]}" for one in sources)
    return Correction(extra, ", ".join(words), outside_bytes=beside) if sources else None


def _alike(record: Record, question: Question) -> bool:
    same_card = _same_card(record.card_bytes, question.card_bytes)
    return same_card and _engine(record) == _engine(question)


def _same_card(one: int, other: int) -> bool:
    return abs(one - other) * 100 <= max(one, other) * _SAME_CARD_PERCENT


def _inside(alike: Iterable[Record], question: Question) -> Record | None:
    exact = [one for one in alike if _workload(one) == _workload(question)]
    more = [one for one in alike if one.extra_bytes > 0]
    return max(exact or more, key=lambda one: one.at, default=None)


def _believed(record: Record) -> int:
    """A credit keeps a margin, for the next start may take a little more."""
    if record.extra_bytes >= 0:
        return record.extra_bytes
    least = -record.card_bytes * _LARGEST_CREDIT_PERCENT // 100
    return min(0, max(record.extra_bytes, least) + CREDIT_MARGIN_BYTES)


def parse(data: Mapping[str, str]) -> tuple[dict[str, Record], dict[str, str]]:
    """Records by key, and why the other keys of the ConfigMap hold none."""
    records: dict[str, Record] = {}
    broken: dict[str, str] = {}
    for key, text in data.items():
        found = _record(text)
        if isinstance(found, Record) and found.key == key:
            records[key] = found
        else:
            broken[key] = found if isinstance(found, str) else "its key is another record's"
    return records, broken


def _record(text: str) -> Record | str:
    if len(text) > MAX_RECORD_CHARACTERS:
        return f"longer than {MAX_RECORD_CHARACTERS} characters"
    try:
        found = Record.model_validate_json(text)
    except ValidationError as error:
        return "; ".join(f"{one['loc']}: {one['msg']}" for one in error.errors()[:3])
    most = max(abs(found.extra_bytes), found.outside_bytes)
    return found if most <= found.card_bytes else "more than the card has"


def changes(known: Mapping[str, Record], new: Iterable[Record]) -> dict[str, str | None]:
    """The ConfigMap's keys to write, and (None) to take away; empty if nothing is news."""
    merged = [_merged(known.get(one.key), one) for one in new]
    fresh = {one.key: one for one in merged if _is_news(known.get(one.key), one)}
    if not fresh:
        return {}
    kept = sorted(({**known, **fresh}).items(), key=lambda pair: (pair[1].at, pair[0]))
    gone = {key for key, _ in kept[: max(0, len(kept) - MAX_RECORDS)]}
    written = {key: encoded(one) for key, one in fresh.items() if key not in gone}
    return {**written, **dict.fromkeys(gone & known.keys())}


def _merged(old: Record | None, new: Record) -> Record:
    """What was lacking outside on such a card stays, whatever is found inside."""
    if old is None or not _same_card(old.card_bytes, new.card_bytes):
        return new
    most = max(old.outside_bytes, new.outside_bytes)
    return new.model_copy(update={"outside_bytes": most})


def _is_news(old: Record | None, new: Record) -> bool:
    if old is None:
        return max(abs(new.extra_bytes), new.outside_bytes) > TOLERANCE_BYTES
    moved = abs(old.extra_bytes - new.extra_bytes) > TOLERANCE_BYTES
    more = new.outside_bytes != old.outside_bytes
    return moved or more or not _same_card(old.card_bytes, new.card_bytes)


def encoded(record: Record) -> str:
    return json.dumps(record.wire(), sort_keys=True, separators=(",", ":"))
