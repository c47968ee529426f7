import re

import pytest

from berth_api.engine_flags import MANAGED
from berth_api.rules import EXTRA_ARG, POOLED, UNSERVED, rule
from berth_api.spec import (
    DECIMAL,
    FRACTION,
    KEEP_ALIVE,
    PENALTY,
    POSITIVE,
    POSITIVE_PROPORTION,
    PROPORTION,
    QUANTITY,
    SERVED_NAME,
    SOURCE_PATTERN,
)

VALID = {
    SOURCE_PATTERN: [
        "hf://gpt2",
        "hf://a/b@main",
        "oci://r.example:5000/m:1",
        "pvc://c",
        "pvc://c/a/b",
    ],
    FRACTION: ["auto", "0.9", ".5", "0.001", "1", "1.0", "0.90"],
    QUANTITY: ["4", "1500m", "1.5Gi"],
    SERVED_NAME: ["a", "qwen2.5:7b", "Qwen/Qwen3-32B"],
    KEEP_ALIVE: ["0", "300", "5m", "1h30m", "-1", "-1s"],
    DECIMAL: ["0", "0.7", "1.50", "99.9"],
    POSITIVE: ["1.1", "0.01", "10", "99"],
    PROPORTION: ["0", "0.0", "0.05", "1", "1.0"],
    POSITIVE_PROPORTION: ["0.9", "0.90", "0.000001", "1", "1.00"],
    PENALTY: ["-2", "-0.5", "0", "2.0", "1.99"],
}
INVALID = {
    SOURCE_PATTERN: [
        "",
        "gpt2",
        "http://a/b",
        "hf://../x",
        "hf://a b",
        "hf://a/b/c",
        "pvc://C",
        "hf://",
    ],
    FRACTION: ["0", "0.0", ".000", "1.5", "90%", "-0.5", "", "1.01"],
    QUANTITY: ["", "4 Gi", "-1", "4GB", "Gi"],
    SERVED_NAME: ["", "-a", "a b", "a/"],
    KEEP_ALIVE: ["", "5 minutes", "m", "1.5"],
    DECIMAL: ["", "100", "-1", ".5", "1e-1", "1.", "nan"],
    POSITIVE: ["0", "0.00", "100", "-1"],
    PROPORTION: ["1.1", "2", "-0.1"],
    POSITIVE_PROPORTION: ["0", "0.00", "1.01"],
    PENALTY: ["2.1", "-3", "+1"],
}


@pytest.mark.parametrize(("pattern", "text"), [(p, t) for p, texts in VALID.items() for t in texts])
def test_a_pattern_takes(pattern, text):
    assert re.search(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"), [(p, t) for p, texts in INVALID.items() for t in texts]
)
def test_a_pattern_refuses(pattern, text):
    assert not re.search(pattern, text)


def test_every_managed_flag_has_a_rule_and_a_fix():
    messages = [check["message"] for check in EXTRA_ARG]
    assert len(messages) == len(MANAGED)
    for flag, fix in MANAGED.items():
        assert f"spec.runtime.extraArgs must not hold {flag}: {fix}" in messages


def test_an_unserved_field_is_reported_at_its_own_path():
    for check in UNSERVED:
        assert check["message"].startswith(f"spec{check['fieldPath']}")
        assert "is not served yet; " in check["message"]


def test_what_a_pool_decides_instead_is_reported_at_its_own_path_with_the_fix():
    for check in POOLED:
        assert check["message"].startswith(f"spec{check['fieldPath']}")
        assert "pool" in check["message"]
        assert "leave" in check["message"]


def test_a_rule_of_pools_says_nothing_of_a_model_without_one():
    alone = [check["rule"] for check in POOLED if check["rule"].startswith("!has(self.pool) || ")]
    inside = [check["rule"] for check in POOLED if check["rule"].startswith("has(self.pool) || ")]
    assert len(alone) + len(inside) == len(POOLED)


def test_a_rule_holds_only_what_was_given():
    assert rule("true", "always") == {"rule": "true", "message": "always"}
