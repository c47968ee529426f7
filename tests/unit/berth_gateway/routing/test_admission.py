from dataclasses import replace

import pytest

from berth_gateway.routing.admission import Admit, NotReady, decide
from berth_gateway.routing.snapshot import Endpoint, Model

READY = Model(key="1", name="llama", endpoints=(Endpoint("k", "http://h:1", "p"),))
COLD = replace(READY, endpoints=())


def test_a_model_with_an_endpoint_admits() -> None:
    assert decide(READY) == Admit(READY)


def test_a_model_that_is_up_admits_whatever_the_operator_last_wrote() -> None:
    assert isinstance(decide(replace(READY, phase="Failed")), Admit)


@pytest.mark.parametrize(("eta", "wait"), [(None, 10), (0, 1), (25, 25), (3600, 60)], ids=str)
def test_without_one_the_client_hears_when_to_come_back(eta: int | None, wait: int) -> None:
    decision = decide(replace(COLD, eta_seconds=eta, phase="Loading"))

    message = "the model llama has no ready replica yet (phase Loading); try again later"
    assert decision == NotReady(wait, message)
