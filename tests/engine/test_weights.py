"""Bytes of weights on a rank beside the engine's own modules, for published models."""

import engine_facts as asked
import published
import pytest

from berth_operator.core.model import weights

engine_facts = asked.engine_facts
# MXFP4 experts are laid out by kernels that a CPU has not.
NAMES = [name for name in published.NAMES if asked.method(name) != "mxfp4"]
MODELS = [(name, ranks) for name in NAMES for ranks in asked.RANKS]


def told(engine_facts, name, ranks):
    facts = engine_facts.fp8.get((name, ranks)) or engine_facts.cache[name, ranks]
    if "error" in facts:
        assert "divisible" in facts["error"]
        assert published.shape(name).heads % ranks
        return None
    return facts


@pytest.mark.parametrize(("name", "ranks"), MODELS)
def test_weights_are_the_engines_to_the_byte(engine_facts, name, ranks):
    if (facts := told(engine_facts, name, ranks)) is not None:
        shape = published.shape(name)
        assert weights.rank_bytes(shape, facts["dtype"], ranks) == facts["weightsBytes"]


@pytest.mark.parametrize(("name", "ranks"), MODELS)
def test_rotary_tables_are_the_engines_to_the_byte(engine_facts, name, ranks):
    if (facts := told(engine_facts, name, ranks)) is not None:
        shape = published.shape(name)
        assert weights.buffers_bytes(shape, facts["dtype"]) == facts["tableBytes"]
