"""What engines were seen to take beyond the plan, kept for the next plan of the same model. Pure.

A record is one difference in bytes: of what an engine took beside its weights and its KV cache,
and what had been planned for that. Its key is all that the difference depends on: the model's
shape, the accelerator, the tensor-parallel size, the engine's image and the batch that was asked.
Records are few and small, so that one ConfigMap holds them; who edits it by hand breaks no plan.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field, ValidationError

from berth_api.shape import ShapeReport
from berth_api.types import ApiModel, Spec
from berth_operator.core.digest import digest

_MIB: Final = 2**20

# More models, cards and sizes than one cluster serves with one engine version. At most 2 KiB each,
# they fill half of a ConfigMap (1 MiB, validation.ValidateConfigMap of Kubernetes).
MAX_RECORDS: Final = 256
MAX_RECORD_CHARACTERS: Final = 2048
_MAX_NAME_CHARACTERS: Final = 512
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

    `outside`: the engine does not count these bytes when it sizes its KV cache, so its share of
    the card must shrink by them. `longest_tokens`: no context beyond it, whatever the bytes say.
    """

    extra_bytes: int
    source: str
    outside: bool = False
    longest_tokens: int | None = None


class Record(ApiModel):
    """One value of the ConfigMap, as JSON."""

    model: str = Field(max_length=_MAX_NAME_CHARACTERS, description="For people: the source.")
    shape: str = Field(max_length=_KEY_CHARACTERS)
    accelerator: str = Field(max_length=_MAX_NAME_CHARACTERS)
    card_bytes: int = Field(gt=0)
    tensor_parallel: int = Field(gt=0)
    image: str = Field(max_length=_MAX_NAME_CHARACTERS)
    workload: str = Field(max_length=_KEY_CHARACTERS)
    extra_bytes: int
    outside: bool = False
    reason: str = Field(default=MEASURED, max_length=64, description="Measured, or the failure's.")
    at: str = Field(max_length=32, description="RFC 3339 in UTC, which sorts as text.")

    @property
    def key(self) -> str:
        """Of everything that the difference depends on, but the card's size.

        A card that grew under the same name is measured anew, and its old record is of no use.
        """
        return digest(
            [self.shape, self.accelerator, self.tensor_parallel, self.image, self.workload]
        )[:_KEY_CHARACTERS]


@dataclass(frozen=True)
class Question:
    """What is planned: the record that answers it was measured under the same."""

    shape: str
    accelerator: str
    card_bytes: int
    tensor_parallel: int
    image: str
    workload: str


def shape_of(report: ShapeReport) -> str:
    """Of what decides memory: a fine-tune, or the same model from elsewhere, has the same."""
    known = report.model_dump(mode="json", exclude={"commit", "fileBytes", "failure"})
    return digest(known)[:_KEY_CHARACTERS]


def workload_of(spec: Spec) -> str:
    """Of what the user asked that changes what the engine takes beside weights and KV cache."""
    runtime = spec.runtime
    asked = [
        runtime.dtype.value,
        runtime.kv_cache_dtype.value,
        runtime.max_num_seqs,
        runtime.max_num_batched_tokens,
        list(runtime.extra_args),
    ]
    return digest(asked)[:_KEY_CHARACTERS]


def correction(records: Mapping[str, Record], question: Question) -> Correction | None:
    """The record of the very same, else of another batch: that one only where it says "more"."""
    alike = [one for one in records.values() if _alike(one, question)]
    exact = next((one for one in alike if one.workload == question.workload), None)
    if exact is not None:
        return _corrected(exact)
    more = [one for one in alike if one.extra_bytes > 0]
    return _corrected(max(more, key=lambda one: one.at)) if more else None


def _alike(record: Record, question: Question) -> bool:
    same = (record.shape, record.accelerator, record.tensor_parallel, record.image) == (
        question.shape,
        question.accelerator,
        question.tensor_parallel,
        question.image,
    )
    apart = abs(record.card_bytes - question.card_bytes)
    return same and apart * 100 <= question.card_bytes * _SAME_CARD_PERCENT


def _corrected(record: Record) -> Correction | None:
    """A credit keeps a margin, for the next start may take a little more."""
    extra = record.extra_bytes
    if extra < 0:
        least = -record.card_bytes * _LARGEST_CREDIT_PERCENT // 100
        extra = min(0, max(extra, least) + CREDIT_MARGIN_BYTES)
    if extra == 0:
        return None
    return Correction(extra, f"{record.reason} on {record.at[:10]}", outside=record.outside)


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
    return found if abs(found.extra_bytes) <= found.card_bytes else "more than the card has"


def changes(known: Mapping[str, Record], new: Iterable[Record]) -> dict[str, str | None]:
    """The ConfigMap's keys to write, and (None) to take away; empty if nothing is news."""
    fresh = {one.key: one for one in new if _is_news(known.get(one.key), one)}
    if not fresh:
        return {}
    kept = sorted(({**known, **fresh}).items(), key=lambda pair: (pair[1].at, pair[0]))
    gone = {key for key, _ in kept[: max(0, len(kept) - MAX_RECORDS)]}
    written = {key: encoded(one) for key, one in fresh.items() if key not in gone}
    return {**written, **dict.fromkeys(gone & known.keys())}


def _is_news(old: Record | None, new: Record) -> bool:
    if old is None:
        return abs(new.extra_bytes) > TOLERANCE_BYTES
    moved = abs(old.extra_bytes - new.extra_bytes) > TOLERANCE_BYTES
    return moved or (old.outside, old.card_bytes) != (new.outside, new.card_bytes)


def encoded(record: Record) -> str:
    return json.dumps(record.wire(), sort_keys=True, separators=(",", ":"))
