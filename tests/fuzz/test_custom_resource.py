"""A ModelDeployment of any content: decided upon, the same way twice, with a status that is stored.

The API server keeps types and ranges; what it cannot be relied upon for (an older definition, a
version that is to come, a hand in etcd) is tried as well.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import builders
import fuzzing
import gpu_nodes
import jsonschema
import schema_values
from fakes.cluster_of_one import ClusterOfOne
from hypothesis import assume, given
from hypothesis import strategies as st

from berth_api.adapters import AdapterReport
from berth_api.schema import custom_resource_definition
from berth_api.spec import Spec
from berth_api.status import Status
from berth_cli import admission
from berth_operator.core.decide import decide
from berth_operator.core.resolved import resolve

Fuzz = Callable[[Callable[[], None]], None]

(_VERSION,) = custom_resource_definition()["spec"]["versions"]
_SCHEMA = _VERSION["schema"]["openAPIV3Schema"]["properties"]
STORED_STATUS = jsonschema.Draft4Validator(_SCHEMA["status"])
STORED_SPEC = jsonschema.Draft4Validator(_SCHEMA["spec"])

PROFILES = st.sampled_from(["h100", "cpu", "absent"])


@st.composite
def served(draw: st.DrawFn) -> Any:
    """A spec as the schema has it, of which most say what this version can do."""
    spec = draw(schema_values.allowed(Spec))
    _has_adapters(spec)
    for entry in spec.get("accelerators", ()):
        entry["profile"] = draw(PROFILES)
    if draw(st.booleans()):
        _joins_a_pool(spec)
    else:
        for name in ("pool", "priority", "evictable"):
            spec.pop(name, None)
    if not spec["model"]["source"].startswith("hf://"):
        spec["model"].pop("authSecretRef", None)
    return spec


def _joins_a_pool(spec: Any) -> None:
    spec["pool"] = "small"
    for name in ("accelerators", "scaling", "adapters"):
        spec.pop(name, None)
    spec.get("defaults", {}).pop("adapter", None)
    spec["model"].pop("cache", None)


def _has_adapters(spec: Any) -> None:
    """Those that can be had, each name once; the default is one of them or none."""
    given = {one["name"]: one for one in spec.get("adapters", ())}
    kept = [one for one in given.values() if one["source"].startswith(("hf://", "pvc://"))]
    if "adapters" in spec:
        spec["adapters"] = kept
    defaults = spec.get("defaults", {})
    if defaults.get("adapter") not in {one["name"] for one in kept}:
        defaults.pop("adapter", None)


SPECS = served()
STATUSES = st.none() | schema_values.allowed(Status)
REPORTS = st.sampled_from(
    [
        builders.SMOLLM2_REPORT,
        dict(builders.SMOLLM2_REPORT) | {"config": dict(builders.LLAMA_8B_CONFIG)},
        {"failure": {"reason": "NotFound", "message": "gone", "fix": "look"}},
        "Traceback: boom",
    ]
)
NODES = (gpu_nodes.h100().seen(), gpu_nodes.time_sliced(pods=4).seen())


def model(spec: Any, status: Any = None) -> dict[str, Any]:
    return builders.model_deployment() | {"spec": spec} | ({"status": status} if status else {})


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid spec, of which a few places hold something else, or hold nothing."""
    spec = {"spec": copy.deepcopy(draw(SPECS))}
    for _ in range(draw(st.integers(1, 3))):
        place, key = draw(st.sampled_from(list(_places(spec))))
        place[key] = draw(schema_values.ANYTHING)
    return spec["spec"]


def _places(value: Any) -> Any:
    """Each container with each of its keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _places(inner)


def read(cr: dict[str, Any]) -> dict[str, AdapterReport]:
    """Every adapter has been read, and is one of the small model's."""
    spec = cr["spec"]
    given = spec.get("adapters") if isinstance(spec, dict) else None
    sources = [
        one["source"]
        for one in (given if isinstance(given, list) else ())
        if isinstance(one, dict) and isinstance(one.get("source"), str)
    ]
    return {source: builders.adapter(source) for source in sources}


def lives(cr: dict[str, Any], report: Any) -> None:
    """Its first looks, each decided twice; then its pod serves."""
    cluster = ClusterOfOne(cr=cr, known={"nodes": NODES, "adapters": read(cr)})
    for act in (lambda: None, lambda: _answer(cluster, report), lambda: _serve(cluster)):
        act()
        observed = cluster.observe()
        first = decide(observed, cluster.context)
        assert decide(observed, cluster.context) == first
        json.dumps([*first.apply, first.status], allow_nan=False)
        if first.status is not None:
            STORED_STATUS.validate(first.status)
        cluster.step()


def _answer(cluster: ClusterOfOne, report: Any) -> None:
    if cluster.kind("Job"):
        cluster.read_shape(report)


def _serve(cluster: ClusterOfOne) -> None:
    if cluster.cr.get("status", {}).get("updateRevision"):
        cluster.serve()


def test_whatever_the_api_server_takes_can_be_read_and_decided_upon(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(SPECS, STATUSES, REPORTS)
    def valid(spec: Any, status: Any, report: Any) -> None:
        STORED_SPEC.validate(spec)
        cr = model(spec, status)
        assume(not list(admission.of_spec(Spec.model_validate(spec))))
        assert resolve(cr).spec == Spec.model_validate(spec)
        lives(cr, report)

    fuzz(valid)


def test_whatever_else_is_stored_is_decided_upon_or_called_invalid(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(mutated(), REPORTS)
    def broken(spec: Any, report: Any) -> None:
        lives(model(spec), report)

    fuzz(broken)
