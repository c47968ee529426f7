"""PARAMETER: each of Ollama's is served by a field, or has a reason why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.modelfile import parameters
from berth_api.modelfile.said import Part, Problem, Remark
from berth_api.spec import Runtime, Sampling

# api.Options and api.Runner of Ollama 0.17, and what older Modelfiles have.
OLLAMAS = (
    *("num_keep", "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n"),
    *("temperature", "repeat_penalty", "presence_penalty", "frequency_penalty", "stop", "num_ctx"),
    *("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"),
    *("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "numa"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "tfs_z"),
)


def part(name, value):
    found = parameters.of(name, value)
    assert isinstance(found, Part), found
    return found.path[-1], found.value


def test_every_parameter_of_ollama_is_in_one_table():
    assert sorted(OLLAMAS) == sorted([*parameters.SERVED, *parameters.UNSERVED])


@pytest.mark.parametrize(
    ("name", "value", "field", "found"),
    [
        ("num_ctx", "8192", "maxModelLen", 8192),
        ("num_predict", "42", "maxTokens", 42),
        ("temperature", ".70", "temperature", "0.7"),
        ("temperature", "1e-1", "temperature", "0.1"),
        ("temperature", "0", "temperature", "0"),
        ("temperature", "-0.0", "temperature", "0"),
        ("temperature", "+1", "temperature", "1"),
        ("top_k", "40", "topK", 40),
        ("top_p", "1.0", "topP", "1"),
        ("min_p", "0.05", "minP", "0.05"),
        ("repeat_penalty", "1.1", "repetitionPenalty", "1.1"),
        ("presence_penalty", "-1.5", "presencePenalty", "-1.5"),
        ("frequency_penalty", "2", "frequencyPenalty", "2"),
        ("seed", "42", "seed", 42),
        ("stop", "AI assistant:", "stop", ["AI assistant:"]),
    ],
)
def test_a_parameter_becomes_a_field(name, value, field, found):
    assert part(name, value) == (field, found)
    if field != "maxModelLen":
        Sampling.model_validate({field: found})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_predict", "-1"), ("num_predict", "-2"), ("seed", "-1"), ("top_k", "-1")),
        *(("num_ctx", "0"), ("typical_p", "1.0"), ("repeat_last_n", "-1"), ("mirostat", "0")),
    ],
)
def test_what_asks_for_the_engines_own_way_changes_nothing(name, value):
    assert parameters.of(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("num_ctx", "8k", "must be an integer from 1 to 16777216, or 0; change it"),
        ("num_predict", "0", "must be an integer from 1 to 16777216, or -1, or -2; change it"),
        ("temperature", "hot", "must be a number from 0 to below 100, of at most 10 characters"),
        ("temperature", "-1", "must be a number from 0"),
        ("temperature", "NaN", "must be a number from 0"),
        ("temperature", "1e999999999", "must be a number from 0"),
        ("temperature", "1" * 1000, "must be a number from 0"),
        ("top_p", "0", "must be a number above 0 and at most 1"),
        ("top_p", "0.123456789", "of at most 10 characters"),
        ("seed", str(2**53), "must be an integer from 0 to 9007199254740991"),
        ("stop", "", "must have 1 to 256 characters"),
        ("repeat_last_n", "64", "looks at the whole text, and at no window of it; remove the line"),
        ("typical_p", "0.5", "no typical sampling; remove the line, or use min_p or top_p"),
    ],
)
def test_a_refusal_names_the_parameter_its_value_and_the_fix(name, value, said):
    found = parameters.of(name, value)
    assert isinstance(found, Problem)
    assert found.text.startswith(f"PARAMETER {name} {value}: ")
    assert said in found.text


def test_a_misspelt_parameter_is_told_the_nearest():
    assert parameters.of("tempreature", "1") == Problem(
        "PARAMETER tempreature: there is no such parameter; write temperature"
    )
    assert "use one of frequency_penalty, min_p" in parameters.of("Q", "1").text


def test_what_is_for_another_engine_is_told_and_harms_nothing():
    assert parameters.of("num_gpu", "99") == Remark(
        "PARAMETER num_gpu 99: Berth plans it from the model and the accelerator; see "
        "spec.parallelism.tensor"
    )


@given(st.sampled_from(sorted(parameters.SERVED)), st.text(max_size=40) | st.floats().map(str))
def test_whatever_is_written_the_field_takes_what_comes_of_it(name, value):
    found = parameters.of(name, value)
    if isinstance(found, Part):
        field = found.path[-1]
        whole = Runtime if found.path == parameters.CONTEXT else Sampling
        assert whole.model_validate({field: found.value}).wire()[field] == found.value
    else:
        assert found is None or found.text
