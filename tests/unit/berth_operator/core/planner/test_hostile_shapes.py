"""Any report of a stranger's model is planned for or refused, at once, and never with an exception.

The operator's loop reads what a repository says, so a small file must not stop it.
"""

import time
from typing import Any

import planning
import published
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from berth_api.shape import MOST_BYTES, Failure, ShapeReport
from berth_operator.core.model import architecture
from berth_operator.core.model.section import MOST, MOST_LAYERS
from berth_operator.core.model.shape import Part
from berth_operator.core.planner import fit
from berth_operator.core.planner.wishes import Illegal

SPEC = planning.spec()
OFFERS = (planning.gpu(), planning.gpu(cards=1024), planning.cpu())
# No plan of a shape takes so long; what loops over a stranger's number takes far longer.
MOST_SECONDS = 1
KUBERNETES_INTEGER = 2**63

FAMILIES = ("llama", "mistral", "gemma3n_text", "gemma4_text", "lfm2", "falcon_h1", "qwen3_next")
NUMBERS = st.sampled_from(
    [-1, 0, 1, 2, 3, 64, 4096, MOST_LAYERS + 1, 2**20, MOST, MOST + 1, 2**31, 10**350]
)
KINDS = ("full_attention", "sliding_attention", "linear_attention", "chunked_attention", "mlp")
VALUES = (
    NUMBERS
    | st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from(["*" * 99, "M*-" * 33, "longrope"])
    | st.dictionaries(st.sampled_from((*KINDS, "factor", "quant_method")), NUMBERS, max_size=3)
    | st.lists(NUMBERS, max_size=3)
)
KEYS = st.sampled_from(
    sorted(
        {key for name in published.NAMES for key in published.report(name).config}
        | {"num_kv_shared_layers", "max_window_layers", "conv_L_cache", "mamba_d_conv", "factor"}
    )
)
BYTES = st.dictionaries(
    st.sampled_from(["BF16", "F32", "U8", "kept:F32", "NEW"]),
    st.sampled_from([0, 1, 2, 10**9, MOST_BYTES]),
    max_size=3,
)
PARTS = st.dictionaries(st.sampled_from([part.value for part in Part]), BYTES, max_size=3)
CONFIGS = st.builds(
    lambda name, family, changes: published.report(name).config | family | changes,
    st.sampled_from(published.NAMES),
    st.just({}) | st.sampled_from(FAMILIES).map(lambda family: {"model_type": family}),
    st.dictionaries(KEYS, VALUES, max_size=3),
)
REPORTS = st.builds(ShapeReport, config=CONFIGS, tensorBytes=BYTES, parts=PARTS)


def verdicts(report: ShapeReport) -> list[Any]:
    shape = architecture.read(report)
    return [shape if isinstance(shape, Failure) else fit.plan(shape, o, SPEC) for o in OFFERS]


def numbers(verdict: fit.Fits | fit.DoesNotFit) -> dict[str, int]:
    return {name: n for name, n in verdict.plan.model_dump().items() if isinstance(n, int)}


def check(report: ShapeReport) -> list[Any]:
    started = time.process_time()
    found = verdicts(report)
    assert time.process_time() - started < MOST_SECONDS * len(OFFERS)
    for verdict in found:
        assert isinstance(verdict, Failure | Illegal | fit.Fits | fit.DoesNotFit)
        if isinstance(verdict, Failure | Illegal):
            assert verdict.message
            assert verdict.fix
            continue
        assert all(0 <= n < KUBERNETES_INTEGER for n in numbers(verdict).values()), verdict.plan
        assert verdict.plan.max_model_len >= 1
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REPORTS)
def test_any_report_is_planned_for_or_refused_at_once(report):
    check(report)


@pytest.mark.parametrize(
    ("family", "said", "named"),
    [
        (
            "mistral",
            {"sliding_window": 4096, "max_window_layers": 1, "num_hidden_layers": 2**20},
            "num_hidden_layers",
        ),
        (
            "mistral",
            {
                "sliding_window": 4096,
                "num_hidden_layers": 2**24,
                "layer_types": {"full_attention": 2**24, "sliding_attention": 1},
            },
            "num_hidden_layers",
        ),
        ("llama", {"num_hidden_layers": 2, "layer_types": {"full_attention": 32}}, "layer_types"),
        ("gemma3n_text", {"sliding_window": 8, "num_kv_shared_layers": 100}, "num_kv_shared"),
        (
            "lfm2",
            {"conv_L_cache": 1, "layer_types": {"full_attention": 6, "conv": 10}},
            "conv_L_cache",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_its_field(family, said, named):
    config = published.report("llama-3.1-8b").config | {"model_type": family} | said
    for verdict in check(published.weighing(config)):
        assert isinstance(verdict, Failure)
        assert verdict.reason == "ConfigUnreadable"
        assert named in verdict.message


def test_as_many_layers_as_are_allowed_are_planned_at_once():
    kinds = {"full_attention": 1, "sliding_attention": MOST_LAYERS - 1}
    said = {"num_hidden_layers": MOST_LAYERS, "layer_types": kinds, "sliding_window": 4096}
    config = published.report("llama-3.1-8b").config | said
    for verdict in check(published.weighing(config)):
        assert isinstance(verdict, fit.Fits | fit.DoesNotFit)
