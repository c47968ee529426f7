import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.engine_steps import Asked, Costs, Limits, Scheduler

COSTS = Costs(step=1.0, prefill_token=0.01, sequence=0.1)


def scheduler(costs=COSTS, **limits):
    return Scheduler(Limits(**({"block_tokens": 4, "blocks": 100} | limits)), costs)


def run(engine, most=10_000):
    """Every step until nothing is left."""
    steps = []
    while (step := engine.step()) is not None:
        steps.append(step)
        assert len(steps) < most
    return steps


def test_a_prompt_takes_one_step_and_so_does_each_further_token():
    engine = scheduler()
    engine.add(Asked(prompt=10, output=3))
    steps = run(engine)
    assert [step.work.prefill_tokens for step in steps] == [10, 0, 0]
    assert [step.seconds for step in steps] == pytest.approx([1.2, 1.1, 1.1])
    assert steps[-1].finished


def test_without_work_there_is_no_step():
    assert scheduler().step() is None


def test_prefill_and_decode_share_a_step():
    engine = scheduler()
    engine.add(Asked(prompt=10, output=5))
    engine.step()
    engine.add(Asked(prompt=20, output=5))
    step = engine.step()
    assert (step.work.prefill_tokens, step.work.decode_tokens) == (20, 1)
    assert len(step.emitted) == 2


def test_a_prompt_above_the_budget_is_computed_in_chunks_and_speaks_after_the_last():
    engine = scheduler(max_num_batched_tokens=8)
    engine.add(Asked(prompt=20, output=1))
    steps = run(engine)
    assert [step.work.prefill_tokens for step in steps] == [8, 8, 4]
    assert [len(step.emitted) for step in steps] == [0, 0, 1]


def test_more_than_max_num_seqs_wait_in_their_order():
    engine = scheduler(max_num_seqs=2)
    asked = [Asked(prompt=1, output=2) for _ in range(3)]
    for one in asked:
        engine.add(one)
    assert engine.step().started == tuple(asked[:2])
    assert list(engine.waiting) == [asked[2]]
    assert engine.step().finished == tuple(asked[:2])
    assert engine.step().started == (asked[2],)


def test_a_prefix_that_was_computed_is_not_computed_again():
    engine = scheduler()
    engine.add(Asked(prompt=9, output=1, hashes=("a", "b")))
    run(engine)
    engine.add(Asked(prompt=13, output=1, hashes=("a", "b", "c")))
    assert engine.step().work.prefill_tokens == 13 - 8
    assert (engine.totals.queried, engine.totals.cached) == (22, 8)


def test_a_prompt_that_is_cached_as_a_whole_computes_its_last_block():
    engine = scheduler()
    for _ in range(2):
        engine.add(Asked(prompt=8, output=1, hashes=("a", "b")))
        last = run(engine)[-1]
    assert last.work.prefill_tokens == 4


def test_what_was_generated_is_a_prefix_of_the_next_turn():
    engine = scheduler()
    engine.add(Asked(prompt=4, output=5, hashes=("a", "b")))
    run(engine)
    engine.add(Asked(prompt=10, output=1, hashes=("a", "b", "c")))
    assert engine.step().work.prefill_tokens == 2


def test_a_prefix_that_is_being_computed_is_not_shared_before_it_is_there():
    engine = scheduler()
    engine.add(Asked(prompt=9, output=1, hashes=("a", "b")))
    engine.add(Asked(prompt=9, output=1, hashes=("a", "b")))
    assert engine.step().work.prefill_tokens == 18


def test_the_youngest_is_preempted_when_the_cache_is_full_and_ends_all_the_same():
    engine = scheduler(blocks=4)
    old, young = Asked(prompt=4, output=8), Asked(prompt=4, output=8)
    engine.add(old)
    engine.add(young)
    ended = [one for step in run(engine) for one in step.finished]
    assert ended == [old, young]
    assert engine.totals.preemptions == young.preemptions == 1
    assert engine.totals.generated == 16


def test_a_request_that_never_fits_is_refused():
    with pytest.raises(ValueError, match="never fit"):
        scheduler(blocks=2).add(Asked(prompt=8, output=1))


def test_a_client_that_leaves_gives_its_blocks_back():
    engine = scheduler()
    running, waiting = Asked(prompt=8, output=9), Asked(prompt=8, output=9)
    engine.add(running)
    engine.step()
    engine.add(waiting)
    engine.cancel(waiting)
    engine.cancel(running)
    engine.cancel(running)
    assert engine.cache.held == 0
    assert engine.step() is None


def test_long_contexts_cost_what_they_read():
    engine = scheduler(Costs(step=0.0, read_token=1.0, attended=1.0))
    engine.add(Asked(prompt=10, output=2))
    assert [step.seconds for step in run(engine)] == [50.0, 10.0]


requests = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=12
)


@settings(max_examples=150)
@given(
    requests=requests,
    seats=st.integers(1, 4),
    budget=st.integers(1, 24),
    blocks=st.integers(11, 24),
    caching=st.booleans(),
)
def test_every_request_gets_its_tokens_and_every_block_comes_back(
    requests, seats, budget, blocks, caching
):
    engine = scheduler(
        max_num_seqs=seats, max_num_batched_tokens=budget, blocks=blocks, prefix_caching=caching
    )
    asked = []
    for prompt, output, family in requests:
        hashes = tuple((family, place) for place in range((prompt + output) // 4))
        asked.append(Asked(prompt=prompt, output=output, hashes=hashes))
        engine.add(asked[-1])
    emitted = dict.fromkeys(range(len(asked)), 0)
    places = {id(one): place for place, one in enumerate(asked)}
    while step := engine.step():
        assert step.work.prefill_tokens + step.work.decode_tokens <= budget
        assert len(engine.running) <= seats
        for one in step.emitted:
            emitted[places[id(one)]] += 1
    assert list(emitted.values()) == [one.output for one in asked]
    assert engine.cache.held == 0
