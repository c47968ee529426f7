"""docs/modelfile.md's tables are those of the code."""

import re
from pathlib import Path

from berth_api.engine_flags import MANAGED
from berth_api.modelfile import grammar, parameters, translation
from berth_api.spec import Spec
from berth_cli import model_file

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "modelfile.md").read_text(encoding="utf-8")
# envconfig/config.go of Ollama 0.17.
VARIABLES = """
AUTH CONTEXT_LENGTH DEBUG DEBUG_LOG_REQUESTS EDITOR FLASH_ATTENTION GO_TEMPLATE GPU_OVERHEAD HOST IGPU_ENABLE
KEEP_ALIVE KV_CACHE_TYPE LLM_LIBRARY LOAD_TIMEOUT MAX_LOADED_MODELS MAX_QUEUE MAX_TRANSFER_STREAMS MODELS NOHISTORY
NOPRUNE NO_CLOUD NUM_PARALLEL ORIGINS REMOTES SCHED_SPREAD VULKAN
"""


def rows(header):
    """The cells of the table that begins with `header`."""
    table = PAGE.partition(f"| {header}")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[2:]
    ]


def test_every_command_has_a_row():
    named = re.findall(r"`([A-Z]+)`", " ".join(row[0] for row in rows("command |")))
    assert sorted(named) == sorted(grammar.COMMANDS)


def test_every_parameter_that_is_served_has_its_field():
    found = {row[0].strip("`| "): row[1].strip("`") for row in rows("parameter | becomes")}
    assert found == {name: ".".join(one.path) for name, one in parameters.SERVED.items()}


def test_every_parameter_that_is_not_served_has_its_reason():
    found = {row[0].strip("`| "): (row[1], row[2].rstrip(" |")) for row in rows("parameter | |")}
    assert found == {
        name: ("refused" if one.fix else "told", one.why)
        for name, one in parameters.UNSERVED.items()
    }


def test_every_variable_of_ollama_has_a_row():
    named = re.findall(r"`OLLAMA_([A-Z_]+)`", " ".join(row[0] for row in rows("variable |")))
    assert sorted(named) == VARIABLES.split()


def test_every_flag_is_one_that_berth_sets_with_its_fix():
    for flag, fix in ((row[0].strip("`| "), row[1].rstrip(" |")) for row in rows("flag |")):
        assert MANAGED[flag] == fix


def test_every_field_that_is_named_exists():
    schema = Spec.model_json_schema(by_alias=True)
    for field in set(re.findall(r"\bspec\.([a-zA-Z.]+[a-zA-Z])", PAGE)):
        node = schema
        for part in field.split("."):
            reference = next(
                (one["$ref"] for one in (node, *node.get("anyOf", ())) if "$ref" in one), None
            )
            node = schema["$defs"][reference.rpartition("/")[2]] if reference else node
            assert part in node["properties"], field
            node = node["properties"][part]


def test_the_example_is_a_valid_model():
    text = (ROOT / "examples" / "modelfile" / "Modelfile").read_text(encoding="utf-8")
    found = translation.translate(grammar.parse(text), "mario")
    assert found.problems == ()
    assert list(model_file.problems(found.model)) == []
