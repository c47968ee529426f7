"""A Modelfile as a ModelDeployment: every command is a part of it, a refusal or a remark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.model_deployment import ModelDeployment
from berth_api.modelfile import grammar, translation
from berth_api.spec import MAX_MESSAGE_CHARACTERS, MAX_MESSAGES, MAX_STOPS, MAX_SYSTEM_CHARACTERS

MARIO = '''
FROM hf.co/Qwen/Qwen3-8B
PARAMETER temperature 1
PARAMETER num_ctx 4096
PARAMETER stop "User:"
PARAMETER stop "AI:"
SYSTEM """You are Mario
from "Super Mario Bros"."""
MESSAGE user Who are you?
MESSAGE assistant It's-a me
'''
BASE = {
    "metadata": {"name": "qwen3"},
    "spec": {
        "model": {"source": "hf://Qwen/Qwen3-8B", "name": "qwen3:8b", "aliases": ["gpt-4o"]},
        "runtime": {"maxModelLen": 8192, "dtype": "bfloat16"},
        "accelerators": [{"profile": "h100"}],
        "replicas": 3,
        "scaling": {"mode": "Auto"},
        "defaults": {"system": "Be brief.", "parameters": {"stop": ["</s>"], "topK": 40}},
    },
}


def translate(text, name="mario", base=None):
    return translation.translate(grammar.parse(text), name, base)


def spec(text, base=None):
    found = translate(text, base=base)
    assert found.problems == ()
    ModelDeployment.model_validate(found.model)
    return found.model["spec"]


def problem(text, name="mario"):
    found = translate(text, name)
    assert found.model is None
    (said,) = found.problems
    return said


def test_ollamas_own_example_becomes_a_model():
    assert translate(MARIO).model == {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "mario"},
        "spec": {
            "model": {"source": "hf://Qwen/Qwen3-8B"},
            "runtime": {"maxModelLen": 4096},
            "defaults": {
                "system": 'You are Mario\nfrom "Super Mario Bros".',
                "messages": [
                    {"role": "user", "content": "Who are you?"},
                    {"role": "assistant", "content": "It's-a me"},
                ],
                "parameters": {"temperature": "1", "stop": ["User:", "AI:"]},
            },
        },
    }


def test_a_source_alone_has_no_defaults():
    assert spec("FROM pvc://models/qwen3") == {"model": {"source": "pvc://models/qwen3"}}


@pytest.mark.parametrize(
    ("name", "plain"), [("Qwen2.5:7b", "qwen2-5-7b"), ("mario:latest", "mario"), ("A_b", "a-b")]
)
def test_a_name_of_ollama_is_kept_for_clients(name, plain):
    found = translate("FROM hf://a/b", name).model
    assert found["metadata"]["name"] == plain
    assert found["spec"]["model"]["name"] == name
    assert ModelDeployment.model_validate(found).spec.model.name == name


def test_long_names_that_differ_in_their_ends_are_two_objects():
    names = [f"hf.co/HuggingFaceTB/SmolLM2-135M-Instruct-v0.{n}" for n in (1, 2)]
    first, second = (translation.object_name(name) for name in names)
    assert first != second
    assert len(first) == len(second) == 40
    assert translation.object_name(f"{names[0]}:latest") == first


@pytest.mark.parametrize("name", ["7b", "a b", "", "-", "é", "x" * 256])
def test_a_name_that_nobody_could_ask_for_is_refused(name):
    assert problem("FROM hf://a/b", name).startswith(f"the name {name!r} must ")


def test_a_model_made_of_another_has_its_engine_and_not_its_names_or_size():
    found = spec("FROM qwen3\nSYSTEM Be long.\nPARAMETER top_k 9", BASE)
    assert found == {
        "model": {"source": "hf://Qwen/Qwen3-8B"},
        "runtime": {"maxModelLen": 8192, "dtype": "bfloat16"},
        "accelerators": [{"profile": "h100"}],
        "defaults": {"system": "Be long.", "parameters": {"stop": ["</s>"], "topK": 9}},
    }


def test_lists_that_the_modelfile_has_replace_those_of_the_other():
    found = spec("FROM qwen3:8b\nPARAMETER stop a\nPARAMETER stop b", BASE)
    assert found["defaults"]["parameters"]["stop"] == ["a", "b"]


def test_another_context_is_told_to_be_another_engine():
    (said,) = translate("FROM qwen3\nPARAMETER num_ctx 2048", base=BASE).remarks
    assert said == "line 1: num_ctx 2048 is not qwen3's maxModelLen, 8192: another engine"
    (said,) = translate("FROM qwen3\nPARAMETER num_ctx 8192", base=BASE).remarks
    assert said == "line 1: its engine is qwen3's, word for word; it runs in pods of its own"


def test_in_a_pool_two_models_are_told_to_be_one_engine():
    pooled = BASE | {"spec": BASE["spec"] | {"pool": "shared"}}
    (said,) = translate("FROM qwen3", base=pooled).remarks
    assert (
        said == "line 1: its engine is qwen3's, word for word; pool shared loads it once for both"
    )


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("qwen3", "qwen3"),
        ("Qwen3:8b", "qwen3-8b"),
        ("qwen3:latest", "qwen3"),
        ("user/qwen3", None),
        ("hf://a/b", None),
        ("./x.gguf", None),
        ("3", None),
    ],
)
def test_only_a_plain_name_can_be_that_of_another_model(given, name):
    assert translation.base_name(grammar.parse(f"FROM {given}")) == name


def test_a_model_that_does_not_answer_to_the_name_is_not_its_base():
    (said,) = translate("FROM qwen3:70b", base=BASE).problems
    assert "no ModelDeployment has this name" in said
    assert spec("FROM gpt-4o", BASE)["model"] == {"source": "hf://Qwen/Qwen3-8B"}


def test_an_adapter_is_added_to_those_of_the_other():
    assert spec("FROM hf://a/b\nADAPTER hf://org/sql")["adapters"] == [
        {"name": "sql", "source": "hf://org/sql"}
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ('TEMPLATE """{{ .Prompt }}"""', "line 2: TEMPLATE is a template of Go, and the engine's"),
        ("DRAFT ./draft.gguf", "line 2: DRAFT names a GGUF file; remove it, or give the engine"),
        ("ADAPTER ./lora.gguf", "line 2: ADAPTER ./lora.gguf is a file, and the engine loads"),
        ("REQUIRES soon", "line 2: REQUIRES soon is no version; write for example"),
        ("FROM hf://c/d", "line 2: FROM is there 2 times, and at most 1 may be; remove some"),
        ("SYSTEM " + "x" * (MAX_SYSTEM_CHARACTERS + 1), "line 2: SYSTEM has 65537 characters"),
        (
            "MESSAGE user " + "x" * (MAX_MESSAGE_CHARACTERS + 1),
            "line 2: MESSAGE has 16385 characters, and at most 16384 fit; shorten it",
        ),
        (
            "MESSAGE user hi\n" * (MAX_MESSAGES + 1),
            "line 34: MESSAGE is there 33 times, and at most 32 may be; remove some",
        ),
        (
            "PARAMETER stop x\n" * (MAX_STOPS + 1),
            "line 18: PARAMETER stop is there 17 times, and at most 16 may be; remove some",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_at_its_line(command, said):
    assert problem(f"FROM hf://a/b\n{command}").startswith(said)


@pytest.mark.parametrize(
    "command",
    ["LICENSE MIT", "REQUIRES 0.14.0", "RENDERER qwen3-vl", "PARSER qwen3", "PARAMETER num_gpu 1"],
)
def test_what_changes_nothing_here_is_told(command):
    found = translate(f"FROM hf://a/b\n{command}")
    (said,) = found.remarks
    assert said.startswith(f"line 2: {command.split()[0]} ")
    assert found.model["spec"] == {"model": {"source": "hf://a/b"}}


def test_all_problems_are_told_at_once():
    found = translate("FROM llama3.2\nTEMPLATE x\nPARAMETER top_p 2\nPARAMETER num_gpu 1")
    assert [one.partition(":")[0] for one in found.problems] == ["line 1", "line 2", "line 3"]
    assert len(found.remarks) == 1


LINES = st.sampled_from(
    [
        *("FROM qwen3", "FROM hf://a/b", "SYSTEM a", "MESSAGE user b", "PARAMETER stop c"),
        *(
            "PARAMETER top_k 3",
            "PARAMETER num_ctx 9",
            "ADAPTER hf://a/c",
            "LICENSE d",
            "TEMPLATE e",
        ),
        "PARAMETER temperature 0.5",
    ]
)


@given(st.lists(LINES, max_size=8), st.sampled_from([None, BASE]))
def test_every_command_is_a_part_a_problem_or_a_remark(lines, base):
    found = translate("\n".join(["FROM qwen3", *lines]), base=base)
    assert (found.model is None) == bool(found.problems)
    if found.model is not None:
        read = ModelDeployment.model_validate(found.model)
        assert read.spec.model.source == BASE["spec"]["model"]["source"]


def test_a_model_made_with_an_adapter_is_that_adapter_to_its_clients():
    found = spec("FROM hf://a/b\nADAPTER hf://org/sql@main\nSYSTEM Be brief.")
    assert found["adapters"] == [{"name": "sql", "source": "hf://org/sql@main"}]
    assert found["defaults"] == {"adapter": "sql", "system": "Be brief."}


def test_two_adapters_at_once_are_more_than_the_engine_applies():
    text = "FROM hf://a/b\nADAPTER hf://org/sql\nADAPTER hf://org/law"
    (problem,) = translate(text).problems
    assert problem == "line 3: ADAPTER is there 2 times, and at most 1 may be; remove some"
