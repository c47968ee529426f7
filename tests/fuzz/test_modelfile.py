"""A stranger's Modelfile: a ModelDeployment that the API takes, or a sentence with its line."""

from collections.abc import Callable

import fuzzing
from hypothesis import given
from hypothesis import strategies as st

from berth_api.model_deployment import ModelDeployment
from berth_api.modelfile import grammar, parameters, translation
from berth_api.modelfile.grammar import ModelfileError
from berth_cli import model_file

Fuzz = Callable[[Callable[[], None]], None]

WORDS = st.sampled_from(
    [
        *(f"{one} " for one in grammar.COMMANDS),
        *(f"PARAMETER {one} " for one in (*parameters.SERVED, *parameters.UNSERVED)),
        *(f"MESSAGE {one} " for one in grammar.ROLES),
        *('"', '"""', "\n", "\n", "\r\n", "\r", " ", "\t", "#", "\x00", "\ufeff", "\u202e"),
        *("hf://a/b", "hf.co/a/b:Q4_K_M", "pvc://c/d", "oci://e/f:1", "llama3.2", "./x.gguf", "m"),
        *("0.7", "-1", "1e999999999", "9" * 40, "NaN", "true", "{{ .Prompt }}", "é" * 300),
    ]
)
TEXTS = st.lists(WORDS | st.text(max_size=4), max_size=40).map("".join)
FILES = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200)
NAMES = st.sampled_from(["m", "Mario:latest", "7b", ""]) | st.text(max_size=5)
BASES = st.none() | st.just(
    {
        "metadata": {"name": "m"},
        "spec": {
            "model": {"source": "hf://a/b"},
            "runtime": {"maxModelLen": 9},
            "defaults": {"messages": [], "parameters": {"stop": ["a"]}},
        },
    }
)


def test_any_modelfile_is_a_model_or_refused_with_its_line(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(FILES, NAMES, BASES)
    def read(raw: bytes, name: str, base: dict | None) -> None:
        try:
            found = grammar.parse(grammar.decode(raw))
        except ModelfileError as refused:
            said = str(refused)
            assert said.startswith(f"line {refused.line}: "), said  # noqa: PT017 -- of any input
            return
        again = grammar.parse(grammar.write(found))
        assert [(c.name, c.key, c.value) for c in again.commands] == [
            (c.name, c.key, c.value) for c in found.commands
        ]
        said_of = translation.translate(found, name, base)
        assert all(one.startswith(("line ", "the name ")) for one in said_of.problems)
        if said_of.model is not None:
            ModelDeployment.model_validate(said_of.model)
            # Of what it makes, only what no version serves yet may be refused.
            refused = list(model_file.problems(said_of.model))
            assert all("is not served yet" in one for one in refused), refused

    fuzz(read)
