"""A ModelPool of any content: decided upon, the same way twice, with a status that is stored."""

import json
from collections.abc import Callable
from typing import Any

import fuzzing
import gpu_nodes
import jsonschema
import schema_values
from fakes.cluster_of_one import ClusterOfOne
from hypothesis import given
from hypothesis import strategies as st

from berth_api import names
from berth_api.pool import PoolSpec, PoolStatus
from berth_api.schema import POOLS, custom_resource_definition
from berth_operator.core.pools import pool
from berth_operator.core.pools.decide import decide
from berth_operator.core.pools.observed import PoolObserved

Fuzz = Callable[[Callable[[], None]], None]

(_VERSION,) = custom_resource_definition(POOLS)["spec"]["versions"]
_SCHEMA = _VERSION["schema"]["openAPIV3Schema"]["properties"]
STORED_STATUS = jsonschema.Draft4Validator(_SCHEMA["status"])
STORED_SPEC = jsonschema.Draft4Validator(_SCHEMA["spec"])

PROFILES = st.sampled_from(["h100", "cpu", "absent"])
NODES = (gpu_nodes.h100().seen(), gpu_nodes.time_sliced(pods=4).seen())


@st.composite
def specs(draw: st.DrawFn) -> Any:
    """A spec as the schema has it, of which most name a profile that there is."""
    spec = draw(schema_values.allowed(PoolSpec))
    spec["accelerator"]["profile"] = draw(PROFILES)
    return spec


def observed(cluster: ClusterOfOne, spec: Any, status: Any) -> PoolObserved:
    metadata = {"name": "small", "namespace": "team-a", "uid": "pool-uid", "generation": 1}
    cr = {"apiVersion": names.API_VERSION, "kind": names.KIND_POOL, "metadata": metadata}
    cr |= {"spec": spec, "status": status}
    told = PoolStatus.model_validate(status)
    return PoolObserved(cr, pool.resolve(cr), told, cluster.observe().now, nodes=NODES)


def test_whatever_the_api_server_takes_of_a_pool_can_be_read_and_decided_upon(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(specs(), schema_values.allowed(PoolStatus))
    def valid(spec: Any, status: Any) -> None:
        STORED_SPEC.validate(spec)
        cluster = ClusterOfOne()
        seen = observed(cluster, spec, status)
        first = decide(seen, cluster.context)
        assert decide(seen, cluster.context) == first
        json.dumps([*first.apply, *first.routes, first.status], allow_nan=False)
        STORED_STATUS.validate(first.status)

    fuzz(valid)
