"""Models that an earlier Berth stored are read, decided and changed by this one, and the way back.

The earlier release's definition and operator store one object for each field of the API and every
example of its time. Then this release's take over, and then the earlier ones again.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import releases
import yaml
from clusterapi import Api
from releases import TODAY, Release
from schema_changes import narrowed
from stored_models import Model, Object, StoredModels, obeys, of_release

from berth_api.rules import ADAPTED, POOLED
from dev.controlplane import ControlPlane

# What this release takes away all the same, and why it breaks no stored object.
NO_POOL = "the earlier release refused spec.pool, spec.priority and spec.evictable"
NO_ADAPTER = "the earlier release refused spec.adapters that are not empty"
ACCEPTED: dict[str, str] = {
    "spec.adapters: x-kubernetes-list-map-keys is ['name'], was None": NO_ADAPTER,
    "spec.adapters: x-kubernetes-list-type is 'map', was None": NO_ADAPTER,
    "spec.adapters[]: a new rule: !self.source.contains('..')": NO_ADAPTER,
    "spec.adapters[]: a new rule: !self.source.startsWith('oci://')": NO_ADAPTER,
    **{f"spec: a new rule: {rule['rule']}": NO_POOL for rule in POOLED},
    **{f"spec: a new rule: {rule['rule']}": NO_ADAPTER for rule in ADAPTED},
}


@dataclass(frozen=True)
class Passage:
    """All models under the earlier release, under this one, and under the earlier one again."""

    before: dict[str, Model]
    upgraded: dict[str, Model]
    returned: dict[str, Model]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return releases.extract(releases.PREVIOUS[0], tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def passage(previous: Release, tmp_path_factory: pytest.TempPathFactory) -> Passage:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        models = StoredModels(plane, tmp_path_factory.mktemp("operators"), of_release(previous))
        models.define(previous)
        models.store()
        before = models.under(previous, replicas=1)
        models.define(TODAY)
        upgraded = models.under(TODAY, replicas=2)
        models.define(previous)
        return Passage(before, upgraded, models.under(previous, replicas=3))


def planned_anew(before: dict[str, Model], after: dict[str, Model]) -> dict[str, tuple[Any, Any]]:
    """Of each model whose pods would be replaced: what decides that, before and after."""
    runtimes = {name: (_runtime(one), _runtime(after[name])) for name, one in before.items()}
    return {name: (was, now) for name, (was, now) in runtimes.items() if was != now}


def _runtime(model: Model) -> tuple[Object, frozenset[str]]:
    return model.templates, model.revisions


def within(part: Any, whole: Any) -> bool:
    """Whether all that was written is read: defaults may have come to it."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and within(value, whole[key]) for key, value in part.items())
    return bool(part == whole)


def test_each_named_release_is_an_ancestor_of_this_one() -> None:
    assert 1 <= len(releases.PREVIOUS) <= releases.MOST_VERSIONS_BACK
    assert [name for name in releases.PREVIOUS if not releases.is_ancestor(name)] == []


def test_the_definition_takes_nothing_away_from_stored_objects(previous: Release) -> None:
    before, after = (yaml.safe_load(one.definition.read_text()) for one in (previous, TODAY))
    assert sorted(narrowed(before, after)) == sorted(ACCEPTED)


def test_a_stored_object_would_be_taken_if_it_were_new(previous: Release, rehearsal: Api) -> None:
    """The API server is lenient with what an update leaves as it was; this is not."""
    bodies = of_release(previous, rehearsal.namespace)
    refused = {name: rehearsal.refusal(body) for name, body in bodies.items()}
    assert {name: told for name, told in refused.items() if told} == {}


def test_the_objects_have_children_to_compare(passage: Passage) -> None:
    running = {name for name, one in passage.before.items() if obeys(one.spec)}
    assert len(running) > len(passage.before) / 2
    assert [name for name in running if not passage.before[name].templates] == []


def test_all_that_was_written_is_read_after_the_upgrade_and_after_the_way_back(
    passage: Passage,
) -> None:
    for models, replicas in ((passage.upgraded, 2), (passage.returned, 3)):
        lost = [
            name
            for name, one in passage.before.items()
            if not within(one.spec | {"replicas": replicas}, models[name].spec)
        ]
        assert lost == []


def test_this_operator_plans_no_stored_model_anew(passage: Passage) -> None:
    assert planned_anew(passage.before, passage.upgraded) == {}


def test_the_earlier_operator_plans_no_model_anew_either(passage: Passage) -> None:
    assert planned_anew(passage.before, passage.returned) == {}
