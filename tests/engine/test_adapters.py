"""LoRA adapters on the engine itself: what they take, what they say, and who may load them."""

import base64
from pathlib import Path

import published
import pytest

from berth_api.adapters import AdapterReport
from berth_operator.core.model import adapters
from standins import tiny_model

SLOTS = Path(__file__).with_name("oracle_adapters.py")
REQUESTS = Path(__file__).with_name("oracle_adapter_requests.py")

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# A model, the modules of its adapters, their rank, how many they are, and the ranks of the engine.
CASES = [
    ("llama-3.1-8b", ALL, 16, 2, 1),
    ("llama-3.1-8b", ALL, 16, 2, 2),
    ("llama-3.1-8b", ("q_proj", "v_proj"), 12, 1, 1),
    ("llama-3.1-8b", ("o_proj", "down_proj"), 64, 9, 4),
    ("qwen2.5-0.5b", ("k_proj", "up_proj"), 8, 3, 1),
    ("qwen2.5-7b", ALL, 33, 1, 4),
    ("phi-3-mini", ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"), 16, 1, 1),
    ("phi-3-mini", ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"), 16, 1, 2),
    ("gemma-3-1b", ALL, 16, 1, 1),
    ("qwen3-32b", ALL, 16, 1, 8),
    ("mixtral-8x7b", ("q_proj", "k_proj", "v_proj", "o_proj"), 16, 1, 1),
]
DTYPE = "bfloat16"


def adapter(model, modules, rank):
    """As the Job that reads adapters would tell of one of a published model."""
    sizes = {}
    for name, _, dimensions in published.load(model).tensors:
        module = name.removesuffix(".weight").rpartition(".")[2]
        if module in modules:
            sizes[module] = (dimensions[1], dimensions[0])
    assert sizes.keys() == set(modules)
    return AdapterReport(source="hf://a/b", commit="0", rank=rank, fileBytes=1, modules=sizes)


def planned(case):
    model, modules, rank, count, _ = case
    report = adapter(model, modules, rank)
    assert adapters.refused(report, published.shape(model)) is None
    return adapters.of([report] * count)


@pytest.fixture(scope="module")
def allocated(engine_python):
    asked = [
        {
            "config": published.load(case[0]).config,
            "tensorParallel": case[4],
            "dtype": DTYPE,
            "slots": planned(case).slots,
            "width": planned(case).width,
            "modules": list(planned(case).modules),
        }
        for case in CASES
    ]
    return dict(zip(CASES, engine_python(SLOTS, asked), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_slots_take_what_the_engine_makes_for_them(allocated, case):
    shape = published.shape(case[0])
    assert allocated[case] == {"bytes": adapters.slot_bytes(planned(case), shape, DTYPE, case[4])}


def encoded(files):
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def completion(model):
    body = {"model": model, "prompt": "w5 w7 w9", "max_tokens": 12, "temperature": 0}
    return ["POST", "/v1/completions", body | {"ignore_eos": True}]


LOAD = {"lora_name": "third", "lora_path": "/tmp"}
ASKED = {
    "base before": completion("base"),
    "first": completion("first"),
    "second": completion("second"),
    "base after": completion("base"),
    "first again": completion("first"),
    "nobody": completion("nobody"),
    "a folder": completion("/tmp"),
    "broken": completion("broken"),
    "load": ["POST", "/v1/load_lora_adapter", LOAD],
    "load elsewhere": ["POST", "/adapters", {"name": "third", "src": "/tmp"}],
    "unload": ["POST", "/v1/unload_lora_adapter", {"lora_name": "first"}],
    "models": ["GET", "/v1/models", None],
}


@pytest.fixture(scope="module")
def answers(engine_python):
    """Of one engine with one slot, so that two adapters take turns in it."""
    dora = tiny_model.adapter(seed=3) | {"adapter_config.json": b'{"r": 8, "use_dora": true}'}
    given = {
        "model": encoded(tiny_model.worded()),
        "adapters": {
            "first": encoded(tiny_model.adapter(seed=1)),
            "second": encoded(tiny_model.adapter(rank=4, seed=2)),
            "broken": encoded(dora),
        },
        "slots": 1,
        "width": 8,
        "modules": [*tiny_model.ADAPTED, "qkv_proj", "gate_up_proj"],
        "asked": list(ASKED.values()),
    }
    return dict(zip(ASKED, engine_python(REQUESTS, given), strict=True))


def said(answers, name):
    status, body = answers[name]
    assert status == 200, body
    return body["choices"][0]["text"]


def test_each_adapter_says_something_of_its_own(answers):
    texts = {said(answers, name) for name in ("base before", "first", "second")}
    assert len(texts) == 3


def test_the_model_and_an_adapter_say_the_same_again(answers):
    assert said(answers, "base after") == said(answers, "base before")
    assert said(answers, "first again") == said(answers, "first")


def test_an_answer_has_the_adapters_name(answers):
    assert answers["first"][1]["model"] == "first"


@pytest.mark.parametrize("name", ["nobody", "a folder"])
def test_what_is_no_adapter_of_the_model_is_not_found(answers, name):
    assert answers[name][0] == 404


def test_an_adapter_that_cannot_be_loaded_is_told_to_its_own_client_only(answers):
    assert answers["broken"][0] == 400
    assert "could not be loaded" in str(answers["broken"][1])


@pytest.mark.parametrize("name", ["load", "load elsewhere", "unload"])
def test_nobody_loads_adapters_by_a_request(answers, name):
    assert answers[name][0] == 404
    assert answers[name][1]["error"]["code"] == "not_found"


def test_adapters_are_listed_beside_the_model_once_they_were_asked_for(answers):
    listed = {one["id"]: one["parent"] for one in answers["models"][1]["data"]}
    assert listed == {"base": None, "first": "base", "second": "base"}
