"""What the API server makes of a ModelDeployment: stored objects and refusals, word for word."""

import json
from typing import Any

import pytest
from clusterapi import CRD_NAME, Api
from modeldeployments import FULL, MINIMAL, POOLED, changed

from dev.kubectl import Kubectl

FLAG = "spec.runtime.extraArgs"

REFUSED = [
    (
        "a source that climbs out of its claim",
        changed("spec.model.source", "pvc://models/a/../../etc"),
        "spec.model.source must not contain '..'; name the folder from the claim's root",
    ),
    ("no source", changed("spec", {"model": {}}), "spec.model.source: Required value"),
    (
        "a hub token for a claim",
        changed("spec.model", {"source": "pvc://c", "authSecretRef": {"name": "a", "key": "b"}}),
        "spec.model.authSecretRef is for hf:// sources only",
    ),
    (
        "a context of no tokens",
        changed("spec.runtime.maxModelLen", 0),
        'spec.runtime.maxModelLen "0" must be "auto" or an integer from 1 to 16777216',
    ),
    (
        "a name after which no Service can be named",
        changed("metadata.name", "qwen2.5"),
        (
            "metadata.name must be lower-case letters, digits and '-', and begin with a letter: "
            "a Service is named after it; give clients another name, for example qwen2.5, with "
            "spec.model.name"
        ),
    ),
    (
        "an unknown type",
        changed("spec.runtime.dtype", "int3"),
        'Unsupported value: "int3": supported values: "auto", "bfloat16", "float16", "float32"',
    ),
    (
        "a size in no unit of Kubernetes",
        changed("spec.resources.memory", "16GB"),
        'spec.resources.memory "16GB" must be a quantity: for example "16Gi", "1500m" or "4"',
    ),
    (
        "an adapter in an image",
        changed("spec.adapters", [{"name": "a", "source": "oci://a/b:1"}]),
        "spec.adapters[].source must be hf://<organisation>/<adapter> or pvc://<claim>[/<folder>]",
    ),
    (
        "an adapter outside of its claim",
        changed("spec.adapters", [{"name": "a", "source": "pvc://a/../b"}]),
        "spec.adapters[].source must not contain '..'",
    ),
    (
        "two adapters of one name",
        changed("spec.adapters", [{"name": "a", "source": f"hf://a/{one}"} for one in "bc"]),
        'spec.adapters[1]: Duplicate value: {"name":"a"}',
    ),
    (
        "a default that is no adapter",
        changed("spec.defaults", {"adapter": "a"}),
        "spec.defaults.adapter must be the name of one of spec.adapters",
    ),
    (
        "adapters in a pool",
        changed(
            "spec",
            {
                "model": {"source": "hf://a/b"},
                "adapters": [{"name": "a", "source": "hf://a/b"}],
                "pool": "small",
            },
        ),
        "spec.adapters is not served in a pool yet; leave out one of the two",
    ),
    *(
        (
            f"a {field} in no pool",
            changed(f"spec.{field}", value),
            f"spec.{field} is for the models of a pool; set spec.pool, or leave it out",
        )
        for field, value in (("priority", 1), ("evictable", True))
    ),
    *(
        (f"a pool and {field}", changed("spec", POOLED["spec"] | said), words)
        for field, said, words in (
            (
                "accelerators",
                {"accelerators": [{"profile": "h100"}]},
                "spec.accelerators is said by the pool of spec.pool; leave out one of the two",
            ),
            (
                "cache",
                {"model": POOLED["spec"]["model"] | {"cache": {"claimName": "a"}}},
                "spec.model.cache is said by the pool of spec.pool; leave out one of the two",
            ),
            (
                "an external scaler",
                {"scaling": {"mode": "External"}},
                "spec.scaling must not be External or have minReplicas in a pool",
            ),
        )
    ),
]


def test_a_name_and_a_source_stay_a_few_lines_when_stored(rehearsal: Api) -> None:
    stored = rehearsal.would_create(MINIMAL)
    assert stored["spec"] == MINIMAL["spec"] | {"replicas": 1, "paused": False}


def test_a_present_section_gets_its_defaults(rehearsal: Api) -> None:
    stored = rehearsal.would_create(changed("spec.scaling", {}))
    assert stored["spec"]["scaling"] == {
        "mode": "Fixed",
        "minReplicas": 0,
        "maxReplicas": 1,
        "targetQueueDepth": "auto",
        "scaleDownDelaySeconds": 60,
        "headroom": 1,
    }


@pytest.mark.parametrize("given", [FULL, POOLED], ids=["alone", "in a pool"])
def test_every_field_that_this_version_acts_on_is_taken(
    rehearsal: Api, given: dict[str, Any]
) -> None:
    assert rehearsal.would_create(given)["spec"] == given["spec"]


@pytest.mark.parametrize(
    ("body", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_it_refuses_and_names_the_field_the_value_or_limit_and_the_fix(
    rehearsal: Api, body: dict[str, Any], message: str
) -> None:
    assert message in rehearsal.refusal(body)


def test_one_mistake_is_answered_with_one_message(rehearsal: Api) -> None:
    refusal = rehearsal.refusal(changed("spec.model.source", "http://a/b"))
    assert refusal.count("spec.model.source:") == 1


def test_an_argument_that_is_no_flag_of_berths_is_taken(rehearsal: Api) -> None:
    arguments = [
        "--enable-prefix-caching",
        "--model-impl",
        "auto",
        "--hf-overrides",
        '{"a": "--port"}',
    ]
    assert rehearsal.refusal(changed(FLAG, arguments)) == ""


def test_status_is_written_apart_and_the_scale_subresource_reads_it(api: Api) -> None:
    api.create(MINIMAL | {"status": {"phase": "Serving"}})
    name = MINIMAL["metadata"]["name"]
    assert "status" not in api.kubectl.json("get", "mdep", name, "-n", api.namespace)
    patch(api, name, {"status": {"replicas": 1, "selector": "berth.dev/model=qwen3"}})
    api.kubectl("scale", "mdep", name, "--replicas=3", "-n", api.namespace)
    scale = json.loads(api.kubectl("get", "--raw", f"{api.path}/{name}/scale"))
    assert scale["spec"]["replicas"] == 3
    assert scale["status"] == {"replicas": 1, "selector": "berth.dev/model=qwen3"}


def test_the_columns_answer_whether_it_serves_and_if_not_why(api: Api) -> None:
    api.create(MINIMAL)
    name = MINIMAL["metadata"]["name"]
    patch(
        api,
        name,
        {
            "status": {
                "phase": "Loading",
                "progress": "43%",
                "readyReplicas": 0,
                "reason": "EngineStarting",
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "False",
                        "reason": "EngineStarting",
                        "message": "loading weights",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                ],
            }
        },
    )
    header, row = api.kubectl("get", "mdep", "-n", api.namespace).splitlines()
    assert header.split() == [
        "NAME",
        "MODEL",
        "PHASE",
        "PROGRESS",
        "READY",
        "REPLICAS",
        "TP",
        "REASON",
        "AGE",
    ]
    shown = row.split()
    assert shown[:6] == [name, "hf://Qwen/Qwen3-0.6B", "Loading", "43%", "False", "0"]
    assert "EngineStarting" in shown
    assert len(row) <= 120


def test_berth_is_a_category(api: Api) -> None:
    api.create(MINIMAL)
    assert MINIMAL["metadata"]["name"] in api.kubectl("get", "berth", "-n", api.namespace)


def test_the_api_server_finds_nothing_amiss_with_the_definition(kubectl: Kubectl, api: Api) -> None:
    found = kubectl.json("get", "customresourcedefinition", CRD_NAME)["status"]["conditions"]
    by_type = {one["type"]: one["status"] for one in found}
    assert by_type["Established"] == "True"
    assert by_type.get("NonStructuralSchema", "False") == "False"


def patch(api: Api, name: str, body: dict[str, Any]) -> None:
    api.kubectl(
        "patch",
        "mdep",
        name,
        "-n",
        api.namespace,
        "--subresource=status",
        "--type=merge",
        f"--patch={json.dumps(body)}",
    )
