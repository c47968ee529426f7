from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.snapshot import Model, build

NAMES = st.sampled_from(["a", "b", "c", "a.x", "b.y", "org/a"])

models = st.builds(
    Model,
    key=st.uuids().map(str),
    name=st.sampled_from(["a", "b", "c", "a.x"]),
    namespace=st.sampled_from(["x", "y"]),
    served_name=st.none() | NAMES,
    aliases=st.lists(NAMES, max_size=2).map(tuple),
    hub_id=st.none() | NAMES,
    created_seconds=st.integers(0, 3),
)
worlds = st.lists(models, max_size=6, unique_by=lambda model: (model.name, model.namespace))


@given(worlds)
def test_the_oldest_keeps_a_name_that_several_want(world: list[Model]) -> None:
    snapshot = build(world)
    qualified = {model.qualified_name for model in world}
    for name in {name for model in world for name in model.names} - qualified:
        claimants = [model for model in world if name in model.names]
        oldest = min(claimants, key=lambda model: (model.created_seconds, model.key))
        assert snapshot.find(name) is oldest


@given(worlds)
def test_a_qualified_name_always_leads_to_its_model(world: list[Model]) -> None:
    snapshot = build(world)
    for model in world:
        assert snapshot.find(model.qualified_name) is model


@given(worlds)
def test_every_model_is_listed_under_a_name_that_leads_to_it(world: list[Model]) -> None:
    snapshot = build(world)
    for model in world:
        names = (snapshot.public_name(model), *snapshot.other_names(model))
        assert len(set(names)) == len(names)
        assert all(snapshot.find(name) is model for name in names)


@given(worlds, st.randoms())
def test_the_order_of_arrival_makes_no_difference(world: list[Model], chance) -> None:
    shuffled = chance.sample(world, len(world))

    assert dict(build(shuffled).index) == dict(build(world).index)


def test_a_name_of_nobody_is_found_nowhere() -> None:
    assert build([Model(key="1", name="a")]).find("b") is None


def test_a_static_model_has_no_qualified_name_of_its_own() -> None:
    snapshot = build([Model(key="a", name="a", aliases=("b",))])

    assert set(snapshot.index) == {"a", "b"}


def test_the_engine_key_is_not_shown() -> None:
    assert "s3cret" not in repr(Model(key="1", name="a", engine_key="s3cret"))
