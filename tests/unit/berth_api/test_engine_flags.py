import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.engine_flags import MANAGED, refused


@pytest.mark.parametrize(
    "written",
    [
        "--port",
        "--port=1",
        "--max_model_len",  # vLLM takes underscores for dashes
        "--max-model-len=4096",
        "--no-trust-remote-code",
        "--trust-remote",  # argparse completes what is unambiguous
        "-tp",
        "-tp=2",
        "-dpn",
        "-n4",
        "--ssl-keyfile",
        "--data-parallel-size-local",
        "--kv-cache-dtype.x",
        "--config",
    ],
)
def test_a_managed_flag_is_caught_however_it_is_spelled(written):
    [(flag, fix)] = refused([written])
    assert flag == written.partition("=")[0]
    assert fix


@pytest.mark.parametrize(
    "written",
    [
        "--enable-prefix-caching",
        "--tokenizer-mode",
        "--model-impl",  # longer than --model
        "--kv-cache-dtype-skip-layers",
        "--max-num-scheduled-tokens",
        "-dc",  # --diffusion-config, not the beginning of -dcp
        "-q",
        "-1",
        "--",
        "-",
        "",
        "8000",
        "; rm -rf /",
    ],
)
def test_other_arguments_pass(written):
    assert refused([written]) == []


@pytest.mark.parametrize("written", ["--enable-lora", "--lora-modules=a=b", "--max_loras"])
def test_flags_of_adapters_are_managed_beside_the_field_only(written):
    assert refused([written]) == []
    assert refused([written], adapted=True)


def test_values_are_not_taken_for_flags():
    assert refused(["--chat-template", "port", "--seed", "-1"]) == []


@given(st.sampled_from(sorted(flag for flag in MANAGED if not flag.endswith("*"))), st.text())
def test_no_value_hides_a_managed_flag(flag, value):
    assert [found for found, _ in refused([f"{flag}={value}", flag])] == [flag, flag]


@given(st.lists(st.text(max_size=20), max_size=8))
def test_any_arguments_are_judged_without_an_error(arguments):
    assert len(refused(arguments)) <= len(arguments)
