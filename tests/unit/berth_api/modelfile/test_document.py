"""Ollama's JSON form of a Modelfile: the same commands, or a refusal that names the field."""

import pytest

from berth_api.modelfile import document, grammar, translation
from berth_api.modelfile.grammar import ModelfileError

ORIGIN = {"from": "hf://Qwen/Qwen3-8B"}
MARIO = {
    "from": "hf://Qwen/Qwen3-8B",
    "parameters": {"temperature": 0.5, "num_ctx": 4096, "stop": ["User:", "AI:"], "seed": None},
    "system": "You are Mario.",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "license": ["MIT", "Apache"],
    "stream": False,
}
MARIOS_FILE = """FROM hf://Qwen/Qwen3-8B
PARAMETER temperature 0.5
PARAMETER num_ctx 4096
PARAMETER stop User:
PARAMETER stop AI:
SYSTEM You are Mario.
LICENSE MIT
LICENSE Apache
MESSAGE user Who are you?
"""


def spec(read):
    found = translation.translate(read, "mario")
    assert found.problems == ()
    return found.model["spec"]


def test_fields_say_what_the_file_says():
    assert spec(document.modelfile(MARIO)) == spec(grammar.parse(MARIOS_FILE))


def test_an_older_client_sends_the_file_itself():
    read = document.modelfile({"model": "mario", "modelfile": MARIOS_FILE})
    assert read == grammar.parse(MARIOS_FILE)


def test_a_problem_of_a_field_has_no_line_and_one_of_a_file_has():
    fields = document.modelfile(ORIGIN | {"parameters": {"top_p": 7}})
    (said,) = translation.translate(fields, "mario").problems
    assert said.startswith("PARAMETER top_p 7: must be a number above 0")
    with pytest.raises(ModelfileError, match=r"^line 1: "):
        document.modelfile({"modelfile": "WHAT is this"})


def test_a_flag_is_written_as_a_modelfile_has_it():
    read = document.modelfile(ORIGIN | {"parameters": {"use_mmap": True}})
    (told,) = translation.translate(read, "mario").remarks
    assert told.startswith("PARAMETER use_mmap true: ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither 'from' or 'files' was specified"),
        ({"from": 7}, "from must be text"),
        (ORIGIN | {"files": {"a.gguf": "sha256:0"}}, "files: files cannot be sent"),
        (ORIGIN | {"adapters": {"a.gguf": "sha256:0"}}, "adapters: files cannot be sent"),
        (ORIGIN | {"quantize": "q4_K_M"}, "quantize: weights are served as they are"),
        (ORIGIN | {"remote_host": "https://ollama.com"}, "remote_host: nothing is sent"),
        (ORIGIN | {"parameters": [1]}, "parameters must be an object"),
        (ORIGIN | {"parameters": {"stop": {}}}, "parameters.stop must be text"),
        (ORIGIN | {"messages": "hello"}, "messages must be a list"),
        (ORIGIN | {"messages": [{"role": "tool", "content": ""}]}, "messages must be a list"),
        (ORIGIN | {"messages": [{"role": "user", "images": ["aGk="]}]}, "messages of text"),
        (ORIGIN | {"license": [1]}, "license must be text"),
        ({"modelfile": 1}, "modelfile must be text"),
    ],
)
def test_what_no_command_stands_for_is_refused_by_its_field(given, said):
    with pytest.raises(ModelfileError) as refused:
        document.modelfile(given)
    assert said in str(refused.value)


def test_empty_fields_are_none():
    empty = {"system": "", "template": "", "parameters": {}, "messages": [], "license": None}
    assert document.modelfile(ORIGIN | empty) == document.of_model("hf://Qwen/Qwen3-8B")


def test_another_name_takes_the_place_of_the_first_from_alone():
    read = grammar.parse("FROM a\nSYSTEM Be brief.\nFROM b")
    renamed = document.made_from(read, "c")
    assert [one.value for one in renamed.commands] == ["c", "Be brief.", "b"]
