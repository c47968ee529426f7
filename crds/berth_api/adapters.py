"""What is known of LoRA adapters before they are loaded: the answer of the Job that reads them.

Facts, as with a model's shape; the planner judges them. Adapters of one model mostly have the same
modules, so that these cross once: a termination message is short.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from berth_api.shape import Count, Failure

LORA: Final = "LORA"
_Value = TypeVar("_Value")

Sides = tuple[Count, Count]
"""Inputs and outputs of one module."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AdapterReport(_Facts):
    """One adapter, from its adapter_config.json and the header of its weights."""

    source: str = Field(description="spec.adapters[].source, verbatim.")
    commit: str = Field(description="The immutable revision, or a hash of a claim's files.")
    rank: Count = Field(description="The largest of any module.")
    fileBytes: Count  # noqa: N815 -- the wire's spelling
    modules: dict[str, Sides] = Field(
        description="The last word of each module's name -> its largest inputs and outputs."
    )
    base: str = Field(default="", description="The model that it says it was made for.")
    kind: str = Field(default=LORA, description="peft_type.")
    extras: dict[str, Any] = Field(
        default_factory=dict, description="Keys of its configuration that a plain LoRA has not."
    )


class _Row(_Facts):
    """An AdapterReport whose modules are a place in a list that several share."""

    commit: str
    rank: Count
    fileBytes: Count  # noqa: N815
    modules: int = Field(ge=0)
    base: int | None = Field(default=None, ge=0)
    kind: str = LORA
    extras: dict[str, Any] = Field(default_factory=dict)


class AdaptersReport(_Facts):
    """A termination message: of the adapters that were asked for, in their order."""

    rows: list[_Row] = Field(default_factory=list)
    modules: list[dict[str, Sides]] = Field(default_factory=list)
    bases: list[str] = Field(default_factory=list)
    failure: Failure | None = Field(default=None, description="Set when one was not read.")

    def reports(self, sources: Sequence[str]) -> tuple[AdapterReport, ...]:
        """Of adapters from `sources`; ValueError if they are not those that were read."""
        try:
            return tuple(
                self._report(row, source) for row, source in zip(self.rows, sources, strict=True)
            )
        except IndexError as error:
            raise ValueError("a row names modules that the answer lacks") from error

    def _report(self, row: _Row, source: str) -> AdapterReport:
        own = row.model_dump(exclude={"modules", "base"})
        base = "" if row.base is None else self.bases[row.base]
        return AdapterReport(source=source, modules=self.modules[row.modules], base=base, **own)


def together(reports: Iterable[AdapterReport]) -> AdaptersReport:
    """What `AdaptersReport.reports` takes apart again."""
    given = tuple(reports)
    modules = _distinct(one.modules for one in given)
    bases = _distinct(one.base for one in given if one.base)
    rows = [
        _Row(
            **one.model_dump(exclude={"source", "modules", "base"}),
            modules=modules.index(one.modules),
            base=bases.index(one.base) if one.base else None,
        )
        for one in given
    ]
    return AdaptersReport(rows=rows, modules=modules, bases=bases)


def _distinct(values: Iterable[_Value]) -> list[_Value]:
    found: list[_Value] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
