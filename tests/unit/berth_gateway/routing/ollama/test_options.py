import pytest

from berth_gateway.errors import Refusal
from berth_gateway.routing.ollama import options
from berth_gateway.settings import Limits

LIMITS = Limits(output_tokens=1000)


def test_every_option_of_the_sampler_has_its_field() -> None:
    given = {
        "temperature": 0.5, "top_k": 40, "top_p": 0.9, "min_p": 0.1, "seed": 7, "stop": ["a", "b"],
        "num_predict": 9, "repeat_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.3,
    }  # fmt: skip

    assert options.read(given, LIMITS) == {
        "temperature": 0.5, "top_k": 40, "top_p": 0.9, "min_p": 0.1, "seed": 7, "stop": ["a", "b"],
        "max_tokens": 9, "repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.3,
    }  # fmt: skip


def test_what_a_loaded_engine_has_no_use_for_is_left_out() -> None:
    given = {
        "num_gpu": 1,
        "num_ctx": 4096,
        "use_mmap": True,
        "mirostat": "unheard of",
        "top_k": None,
    }

    assert options.read(given, LIMITS) == {}
    assert options.context(given) == 4096


@pytest.mark.parametrize(
    "given", [{"num_predict": -1}, {"num_predict": -2}, {"num_predict": 0}, {"seed": -1}]
)
def test_what_says_that_there_is_no_bound_says_nothing(given) -> None:
    assert options.read(given, LIMITS) == {}


def test_an_integer_may_be_written_as_a_float_and_is_cut_as_in_go() -> None:
    assert options.read({"top_k": 4.7, "num_predict": 3.0}, LIMITS) == {"top_k": 4, "max_tokens": 3}


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("temperature", "hot", "float32"),
        ("temperature", True, "float32"),
        ("temperature", float("inf"), "float32"),
        ("top_k", "40", "integer"),
        ("num_ctx", [], "integer"),
        ("num_ctx", 10**30, "integer"),
        ("use_mmap", 1, "boolean"),
        ("stop", "###", "array"),
        ("stop", [1], "array"),
    ],
)
def test_a_value_of_another_type_is_refused_in_ollamas_words(name, value, kind) -> None:
    with pytest.raises(Refusal, match=f'option "{name}" must be of type {kind}') as refused:
        options.read({name: value}, LIMITS)
    assert refused.value.status == 400


def test_more_tokens_than_the_gateway_allows_are_refused_by_ollamas_name_for_them() -> None:
    with pytest.raises(Refusal, match="option \"num_predict\" is '1001'; this gateway allows 1000"):
        options.read({"num_predict": 1001}, LIMITS)
