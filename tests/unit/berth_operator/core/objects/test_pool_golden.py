"""Every object of a ModelPool and of a model of one, whole, as YAML: a change is a change to see.

`UPDATE_GOLDEN=1 pytest tests/unit/berth_operator/core/objects` writes the files anew.
"""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import builders
import golden
import pooled
import pytest

from berth_api import names
from berth_api.pool_server import PoolConfig
from berth_api.server import FetchConfig
from berth_operator.core.drift import stamp
from berth_operator.core.objects import endpoint_slice, fetch_job, pool_pods
from berth_operator.core.objects.pool_pods import PoolPods
from berth_operator.core.pools import cards, pool
from berth_operator.core.resolved import resolve

MASTER_KEY = builders.context().master_key

POOLS: dict[str, dict[str, Any]] = {
    "pool-gpu": {"accelerator": {"profile": "h100", "gpusPerPod": 2}, "replicas": 2},
    "pool-cpu": {
        "accelerator": {"profile": "cpu"},
        "resources": {"memory": "12Gi", "cpu": "4"},
        "cache": {"claimName": "models", "keepCompiled": False},
        "drainTimeoutSeconds": 60,
        "podTemplate": {
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "nodeSelector": {"pool": "models"},
            "annotations": {"example.test/team": "a"},
        },
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "pool-fetch-hub": {
        "model": {
            "source": "hf://meta-llama/Llama-3.2-1B@main",
            "authSecretRef": {"name": "hf", "key": "token"},
        }
    },
    "pool-fetch-image": {"model": {"source": "oci://example.test/smollm2:1"}},
}


def given(case: str) -> PoolPods:
    resolved = pool.resolve(pooled.pool_cr(**POOLS[case]))
    settings = builders.configured()
    offered = cards.offer(resolved, settings, ())
    assert not hasattr(offered, "fix"), offered
    return PoolPods(resolved, settings, offered, MASTER_KEY)


def own_objects(case: str) -> list[dict[str, Any]]:
    made = given(case)
    template = pool_pods.template(made)
    return [pool_pods.deployment(made, template), pool_pods.budget(made)]


def fetching(case: str) -> list[dict[str, Any]]:
    resolved = resolve(builders.model_deployment(**MODELS[case], pool="shared"))
    made = given("pool-gpu")
    job = fetch_job.build(
        resolved, made.pool, made.settings, made.offer.profile, pooled.SHAPE, attempt=1
    )
    return [job]


def routed() -> list[dict[str, Any]]:
    resolved = resolve(builders.model_deployment(pool="shared"))
    pod = pooled.pod_object()
    full = endpoint_slice.build(resolved, given("pool-gpu").pool, "0123456789ab", 8101, (pod,))
    return [full, endpoint_slice.emptied(stamp(full))]


CASES = {
    **dict.fromkeys(POOLS, own_objects),
    **dict.fromkeys(MODELS, fetching),
    "pool-routes": lambda _: routed(),
}


@pytest.mark.parametrize("case", CASES)
def test_objects_are_the_golden_ones(case: str) -> None:
    golden.compare_objects(case, [golden.readable(one) for one in CASES[case](case)])


@pytest.mark.parametrize("case", [*POOLS, *MODELS])
def test_every_container_is_restricted(case: str) -> None:
    for thing in CASES[case](case):
        pod = thing["spec"].get("template", {}).get("spec")
        if pod is None:
            continue
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in golden.containers(thing):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("case", [*POOLS, *MODELS])
def test_only_the_fetcher_sees_the_token_and_only_it_writes_to_the_cache(case: str) -> None:
    for thing in CASES[case](case):
        for container in golden.containers(thing):
            mounts = {one["mountPath"]: one for one in container.get("volumeMounts", [])}
            fetches = thing["kind"] == "Job" and container["name"] != "install"
            sees = any("valueFrom" in one for one in container.get("env", []))
            assert sees == (fetches and case == "pool-fetch-hub")
            if names.DIR_MODEL in mounts:
                assert mounts[names.DIR_MODEL].get("readOnly", False) != fetches


def test_engines_write_to_one_folder_of_the_claim_and_to_none_where_nothing_is_kept() -> None:
    (keeps,), (not_,) = (
        [golden.containers(one)[-1] for one in own_objects(case) if one["kind"] == "Deployment"]
        for case in ("pool-gpu", "pool-cpu")
    )
    of_the_claim = [one for one in keeps["volumeMounts"] if one["name"] == "model"]
    assert [one for one in of_the_claim if not one.get("readOnly")] == [
        {"name": "model", "mountPath": names.DIR_COMPILED, "subPath": "berth-compiled"}
    ]
    assert all(one["mountPath"] != names.DIR_COMPILED for one in not_["volumeMounts"])


def test_the_pods_configuration_is_the_contracts() -> None:
    made = pool_pods.config(given("pool-cpu"))
    assert PoolConfig.model_validate_json(made.wire()) == made
    assert (made.cards, made.memory_bytes) == (0, 11 * 2**30)


def test_the_fetchers_directory_is_where_the_engine_looks() -> None:
    (job,) = [golden.readable(one) for one in fetching("pool-fetch-hub")]
    values = {one["name"]: one.get("value") for one in golden.containers(job)[0]["env"]}
    config = FetchConfig.model_validate(values[names.ENV_FETCH_CONFIG])
    resolved = resolve(builders.model_deployment(**MODELS["pool-fetch-hub"], pool="shared"))
    assert config.directory == fetch_job.directory(resolved, given("pool-gpu").pool, pooled.SHAPE)
    assert config.commit == pooled.SHAPE.commit


def test_an_image_is_copied_aside_and_renamed_when_it_is_whole(tmp_path: Path) -> None:
    image, cache = tmp_path / "image", tmp_path / "cache"
    image.mkdir()
    cache.mkdir()
    (image / "config.json").write_text("{}", encoding="utf-8")
    (image / "weights").write_text("w", encoding="utf-8")
    for _ in range(2):  # the second finds it there
        subprocess.run(["sh", "-c", _copying(image, cache)], check=True)
        (whole,) = cache.iterdir()
        assert sorted(one.name for one in whole.iterdir()) == ["config.json", "weights"]


def _copying(image: Path, cache: Path) -> str:
    """The script of the Job, with these folders and the machine's own programs."""
    (job,) = fetching("pool-fetch-image")
    (copier,) = job["spec"]["template"]["spec"]["containers"]
    script: str = copier["args"][-1]
    for there, here in (
        (copier["command"][0], "/usr/bin/env"),
        (f"{names.DIR_MODEL}/", f"{cache}/"),
        ("/models/config.json", f"{image}/config.json"),
    ):
        script = script.replace(there, here)
    return script


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("pvc://models/a/b", "/a/b"), ("pvc://models", ""), ("pvc://elsewhere/a", None)],
)
def test_a_claims_files_are_found_where_it_is_the_pools(folder: str, expected: str | None) -> None:
    resolved = resolve(builders.model_deployment(folder, pool="shared"))
    found = fetch_job.directory(resolved, given("pool-gpu").pool, pooled.SHAPE)
    assert found == (None if expected is None else f"{names.DIR_MODEL}{expected}")
    assert fetch_job.files_hash(resolved, given("pool-gpu").pool, pooled.SHAPE) == ""


def test_the_longest_of_names_make_a_job_that_kubernetes_takes() -> None:
    longest = builders.model_deployment("hf://a/b", pool="shared")
    longest["metadata"]["name"] = "m" * 40
    resolved = resolve(longest)
    files = fetch_job.files_hash(resolved, given("pool-gpu").pool, pooled.SHAPE)
    assert len(fetch_job.name(resolved, files, 999)) <= 63


def test_the_pools_key_is_in_its_secret_and_its_hash_alone_is_told() -> None:
    made = given("pool-gpu")
    secret = pool_pods.secret(made)
    key = base64.b64decode(secret["data"][names.POOL_KEY_FIELD]).decode()
    assert key == pool_pods.key(made.pool.uid, MASTER_KEY)
    budget = pool_pods.budget(made)
    assert key not in json.dumps(budget)
    assert pool_pods.key_written((budget,), pool_pods.key_hash(made))
    other = PoolPods(made.pool, made.settings, made.offer, b"another key of the release")
    assert not pool_pods.key_written((budget,), pool_pods.key_hash(other))


@pytest.mark.parametrize("changed", [{"replicas": 5}, {"residency": {"minResidencySeconds": 7}}])
def test_the_number_of_pods_and_who_stays_change_no_pod(changed: dict[str, Any]) -> None:
    assert _hash(changed) == _hash({})


@pytest.mark.parametrize(
    "changed",
    [
        {"accelerator": {"profile": "h100", "gpusPerPod": 2}},
        {"runtime": {"image": "example.test/other:2"}},
        {"cache": {"claimName": "others"}},
        {"podTemplate": {"nodeSelector": {"a": "b"}}},
    ],
)
def test_what_a_pod_is_made_of_changes_its_template(changed: dict[str, Any]) -> None:
    assert _hash(changed) != _hash({})


def _hash(changed: dict[str, Any]) -> str:
    resolved = pool.resolve(pooled.pool_cr(**changed))
    settings = builders.configured()
    offered = cards.offer(resolved, settings, ())
    assert not hasattr(offered, "fix"), offered
    return pool_pods.spec_hash(PoolPods(resolved, settings, offered, MASTER_KEY))
