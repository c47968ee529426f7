"""What the API server's rules in CEL refuse, in the rules' own words.

Each rule of `berth_api.rules` stands beside the same check in Python; one without its twin is an
error when this module is imported. Rules on single arguments of the engine are judged by
`berth_api.engine_flags`, as the operator judges them.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from berth_api import names, rules
from berth_api.spec import Scaling, ScalingMode, Sharing, Spec

Twins = tuple[tuple[Mapping[str, str], Callable[[Any], bool]], ...]


def _beside(table: Sequence[Mapping[str, str]], *checks: Callable[[Any], bool]) -> Twins:
    return tuple(zip(table, checks, strict=True))


def _is_versioned(image: str) -> bool:
    tagged = re.fullmatch(r".+:[^/]+", image) is not None and not image.endswith(":latest")
    return "@sha256:" in image or tagged


def _is_on_demand(scaling: Scaling) -> bool:
    return scaling.mode is not ScalingMode.EXTERNAL and not scaling.min_replicas


def _names_an_adapter(spec: Spec) -> bool:
    """Whether the adapter of the model itself is one of those that it has, or none."""
    named = spec.defaults.adapter if spec.defaults else None
    return named is None or any(one.name == named for one in spec.adapters)


_NAME: Final = _beside(
    rules.NAME,
    lambda name: len(name) <= names.MAX_NAME_LENGTH,
    lambda name: re.fullmatch(names.NAME_PATTERN, name) is not None,
)
_SOURCE: Final = _beside(
    rules.SOURCE,
    lambda model: model.source.startswith("hf://") or model.auth_secret_ref is None,
    lambda model: ".." not in model.source,
)
_IMAGE: Final = _beside(rules.IMAGE, _is_versioned)
_SCALING: Final = _beside(
    rules.REPLICA_BOUNDS, lambda scaling: scaling.min_replicas <= scaling.max_replicas
)
_UNSERVED: Final = _beside(
    rules.UNSERVED,
    lambda spec: spec.parallelism.pipeline in ("auto", 1),
    lambda spec: spec.memory.sharing is Sharing.EXCLUSIVE,
)
_POOLED: Final = _beside(
    rules.POOLED,
    lambda spec: spec.pool is None or not spec.accelerators,
    lambda spec: spec.pool is None or spec.model.cache is None,
    lambda spec: spec.pool is None or _is_on_demand(spec.scaling),
    lambda spec: spec.pool is not None or spec.priority is None,
    lambda spec: spec.pool is not None or spec.evictable is None,
)
_ADAPTER: Final = _beside(
    rules.ADAPTER,
    lambda adapter: not adapter.source.startswith("oci://"),
    lambda adapter: ".." not in adapter.source,
)
_ADAPTED: Final = _beside(
    rules.ADAPTED,
    _names_an_adapter,
    lambda spec: spec.pool is None or not spec.adapters,
)


def of_name(name: str) -> Iterator[tuple[str, str]]:
    """The field and the words of each rule that a name breaks."""
    return _broken(_NAME, name, "metadata.name")


def of_spec(spec: Spec) -> Iterator[tuple[str, str]]:
    """The field and the words of each rule that a spec breaks."""
    yield from _broken(_UNSERVED, spec, "spec")
    yield from _broken(_POOLED, spec, "spec")
    yield from _broken(_ADAPTED, spec, "spec")
    yield from _broken(_SOURCE, spec.model, "spec.model")
    for place, adapter in enumerate(spec.adapters):
        yield from _broken(_ADAPTER, adapter, f"spec.adapters[{place}]")
    yield from _broken(_SCALING, spec.scaling, "spec.scaling")
    if spec.runtime.image is not None:
        yield from _broken(_IMAGE, spec.runtime.image, "spec.runtime.image")


def _broken(twins: Twins, value: Any, place: str) -> Iterator[tuple[str, str]]:
    for rule, holds in twins:
        if not holds(value):
            yield place + rule.get("fieldPath", ""), rule["message"]
