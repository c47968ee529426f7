from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.snapshot import Endpoint, Model, build

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


def adapted(**changes) -> Model:
    known = {
        "key": "1",
        "name": "llama",
        "namespace": "team",
        "adapters": ("sql", "law"),
        "loadable": ("sql",),
    }
    return Model(**known | changes)


HERE = Endpoint("p", "http://10.0.0.1:8000", "p")


def test_an_adapter_is_a_model_of_its_own_that_the_same_queue_is_for() -> None:
    snapshot = build([adapted()])
    base, sql = snapshot.find("llama"), snapshot.find("sql")
    assert base is not None
    assert sql is not None
    assert sql.key == base.key
    assert (base.engine_name, sql.engine_name) == ("llama", "sql")
    assert [one.adapter for one in snapshot.listed] == [None, "sql", "law"]
    assert snapshot.models == (base,)


def test_an_adapters_longest_name_is_nobody_elses() -> None:
    other = adapted(key="2", name="qwen", created_seconds=-1)
    snapshot = build([adapted(), other])
    assert snapshot.find("sql") is snapshot.find("sql.qwen.team")
    mine = snapshot.find("sql.llama.team")
    assert mine is not None
    assert (mine.key, mine.adapter) == ("1", "sql")
    assert snapshot.public_name(mine) == "sql.llama.team"


def test_a_models_own_names_come_before_its_adapters() -> None:
    snapshot = build([adapted(aliases=("sql",))])
    assert snapshot.find("sql") is snapshot.find("llama")
    assert snapshot.find("sql.llama.team") is not snapshot.find("llama")


def test_while_replicas_differ_only_what_all_of_them_have_is_offered() -> None:
    assert build([adapted(endpoints=(HERE,))]).find("law") is None
    assert build([adapted()]).find("law") is not None


def test_a_model_may_be_its_own_adapter_as_soon_as_replicas_have_it() -> None:
    assert adapted(own_adapter="sql", endpoints=(HERE,)).engine_name == "sql"
    assert adapted(own_adapter="law", endpoints=(HERE,)).engine_name == "llama"
    assert adapted(own_adapter="law").engine_name == "law"
    sql = build([adapted(own_adapter="law")]).find("sql")
    assert sql is not None
    assert sql.engine_name == "sql"


@given(worlds)
def test_adapters_take_no_name_from_the_model_that_they_are_of(world: list[Model]) -> None:
    bare = build(world)
    dressed = build([replace(one, adapters=("a", "b")) for one in world])
    for model in bare.models:
        for name in model.names:
            if bare.find(name) is model:
                found = dressed.find(name)
                assert found is not None
                assert found.created_seconds <= model.created_seconds
                assert found.adapter is None or found.key != model.key
