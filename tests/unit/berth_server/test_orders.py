import json

import pytest
from pool_orders import GIB, KEY, POOL, order

from berth_api.pool_server import EngineOrders
from berth_server import orders
from berth_server.binding import Cpus
from berth_server.errors import OrdersRefused


def refusal(*wanted, running=(), pool=POOL) -> list[str]:
    measured_by = orders.Pool(
        config=pool,
        totals={0: 16 * GIB, 1: 16 * GIB} if pool.cards else {0: 16 * GIB},
        cpus=Cpus((0, 1), 2),
        running={one.id: one for one in running},
    )
    try:
        orders.check(EngineOrders(sequence=1, engines=list(wanted)), measured_by)
    except OrdersRefused as error:
        return error.problems
    return []


def test_orders_that_fit_are_taken():
    assert refusal(order("a", port=1), order("b", port=2, cards=(1,))) == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([order("a"), order("a", port=2)], "engines.1.id 'a' is engines.0's too: give every"),
        ([order("a"), order("b")], "engines.1.config.port 8001 is engines.0's too"),
        ([order(port=0)], "engines.0.config.port 0: use one from 1 to 65535"),
        ([order(port=8090)], "engines.0.config.port 8090 is the status page's"),
        ([order(cards=(2,))], "engines.0.cards [2]: this pod has 2 cards and no card 2"),
        ([order(cards=(-1,))], "no card -1"),
        ([order(cards=(1, 1))], "engines.0.cards [1, 1]: name each card once"),
        ([order(cards=())], "1 ranks need 1 cards, not 0"),
        ([order(cards=(0, 1), tensor_parallel_size=1)], "1 ranks need 1 cards, not 2"),
        ([order(device="cpu")], "engines.0.config.device 'cpu': this pool's is 'cuda'"),
        ([order(gib=17)], "engines.0.memoryBytes 18253611008: card 0 has 17179869184"),
        (
            [order("a", gib=9), order("b", gib=8, port=2)],
            "engines: 17.0 GiB of card 0 are ordered and it has 16.0 GiB",
        ),
        ([order(extra_args=["--port", "1"])], "engines.0: spec.runtime.extraArgs: --port is"),
    ],
)
def test_orders_that_can_never_be_obeyed_are_refused_by_field_value_and_fix(wanted, said):
    assert any(said in problem for problem in refusal(*wanted))


def test_everything_that_is_wrong_is_said_at_once():
    assert len(refusal(order("a", port=0), order("a", port=0, cards=(7,)))) == 5


def test_what_is_to_run_differently_has_another_id():
    [problem] = refusal(order(gib=5), running=[order(gib=4)])
    assert "engines.0.id 'one' runs with another port or share" in problem
    assert refusal(order(attempt=2), running=[order()]) == []


def test_on_cpu_there_are_no_cards_and_ranks_need_a_cpu_each():
    cpu = POOL.model_copy(update={"device": "cpu", "cards": 0, "memory_bytes": 16 * GIB})
    assert refusal(order(cards=(), device="cpu"), pool=cpu) == []
    assert "no card 0" in refusal(order(device="cpu"), pool=cpu)[0]
    [problem] = refusal(order(cards=(), device="cpu", tensor_parallel_size=3), pool=cpu)
    assert "3 ranks need a CPU each, and the pod may use 2" in problem
    [alone, together] = refusal(order(cards=(), device="cpu", gib=17), pool=cpu)
    assert "this pod has" in alone
    assert "of this pod are ordered" in together


def spoilt(**changes) -> bytes:
    told = json.loads(EngineOrders(sequence=1, engines=[order()]).wire())
    told["engines"][0] |= changes
    return json.dumps(told).encode()


def test_what_was_written_is_read_again():
    [read] = orders.read(spoilt()).engines
    assert read == order()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body: "),
        (b"{}", "sequence: Field required"),
        (spoilt(id="No Label"), "engines.0.id 'No Label': String should match pattern"),
        (spoilt(id="a" * 64), "engines.0.id"),
        (spoilt(memoryBytes=0), "engines.0.memoryBytes '0': Input should be greater than 0"),
        (spoilt(attempt=-1), "engines.0.attempt '-1'"),
        (spoilt(cards=["x"]), "engines.0.cards.0 'x'"),
        (spoilt(key=""), "engines.0.key: String should match pattern"),
        (spoilt(key="no\nheader"), "engines.0.key: String should match pattern"),
    ],
)
def test_a_body_that_is_no_orders_is_refused_by_field(body, said):
    with pytest.raises(OrdersRefused) as refused:
        orders.read(body)
    assert any(said in problem for problem in refused.value.problems)


@pytest.mark.parametrize("body", [spoilt(config=None), spoilt(key=[KEY]), spoilt(id=None), b"[]"])
def test_no_refusal_repeats_a_key(body):
    with pytest.raises(OrdersRefused) as refused:
        orders.read(body)
    assert KEY not in " ".join(refused.value.problems)
