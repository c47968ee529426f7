"""`berth plan` shows what the operator itself would do, and its exit code says the same."""

import io
import json
import os
import re

import builders
import pytest
import yaml

from berth_api.status import Plan
from berth_cli import __main__ as cli

PLAN_KEYS = [field.alias for field in Plan.model_fields.values()]
CONFIG = builders.configured().model_dump(mode="json", by_alias=True)
ONE_CARD = ("--gpu", "80Gi")
ISSUE_KEYS = {
    "fits",
    "tensorParallelSize",
    "pipelineParallelSize",
    "gpuMemoryFraction",
    "weightsBytes",
    "activationBytes",
    "kvBytesPerToken",
    "kvCacheBytes",
    "maxModelLen",
    "maxConcurrency",
    "explain",
    "nearestFixes",
    "usableBytes",
}


def known(plan):
    return {key: value for key, value in plan.items() if value is not None}


def test_what_fits_ends_with_0_and_a_picture(terminal):
    code, out, err = terminal.plan(*ONE_CARD)
    assert (code, err) == (0, "")
    assert "smollm2 fits 1 x gpu-80gi" in out
    assert "WWWW" in out
    assert "\x1b" not in out


def test_what_does_not_fit_ends_with_1(terminal):
    code, out, _ = terminal.plan("--gpu", "8Gi")
    assert code == cli.EXIT_DOES_NOT_FIT
    assert "refused: DoesNotFit" in out
    assert "the card ends" in out


def test_what_needs_several_nodes_is_shown_and_refused(terminal):
    shape = json.loads(json.dumps(builders.SMOLLM2_REPORT))
    shape["config"] |= {"num_attention_heads": 8, "num_key_value_heads": 8, "hidden_size": 8192}
    shape["config"] |= {"num_hidden_layers": 64, "head_dim": 128}
    shape["tensorBytes"] = {"BF16": 100 * 2**30}
    code, out, _ = terminal.plan("--gpu", "48Gi", "--gpus-per-node", "2", shape=shape)
    assert "would fit 2 nodes of 2 x gpu-48gi" in out
    assert "MultiNodeUnsupported" in out
    found = json.loads(
        terminal.plan("--gpu", "48Gi", "--gpus-per-node", "2", "-o", "json", shape=shape)[1]
    )
    assert found["pipelineParallelSize"] == 2
    assert code == (0 if found["fits"] else cli.EXIT_DOES_NOT_FIT)


@pytest.mark.parametrize(("card", "fits"), [("80Gi", True), ("8Gi", False)])
def test_json_is_the_plan_of_the_status_whether_it_fits_or_not(terminal, card, fits):
    code, out, _ = terminal.plan("--gpu", card, "-o", "json")
    found = json.loads(out)
    assert set(found) >= ISSUE_KEYS
    assert known(found) == Plan.model_validate(known(found)).wire()
    assert list(found) == PLAN_KEYS
    assert found["fits"] is fits
    assert code == (0 if fits else 1)
    assert bool(found["nearestFixes"]) is not fits


def test_json_of_a_fitting_plan_is_what_the_operator_writes(terminal):
    found = json.loads(terminal.plan(*ONE_CARD, "-o", "json")[1])
    status, *_ = yaml.safe_load_all(terminal.plan(*ONE_CARD, "-o", "yaml")[1])
    assert status["status"]["plan"] == known(found)


def test_json_of_a_refused_value_says_why_and_what_to_do(terminal):
    code, out, _ = terminal.plan(*ONE_CARD, "-o", "json", runtime={"maxModelLen": 1_000_000})
    found = json.loads(out)
    assert code == cli.EXIT_DOES_NOT_FIT
    assert found["fits"] is False
    assert "spec.runtime.maxModelLen" in found["explain"][0]
    assert found["nearestFixes"]
    assert list(found) == PLAN_KEYS
    assert known(found).keys() == {"fits", "explain", "nearestFixes"}


def test_json_of_a_plan_without_a_card_has_no_share_of_one(terminal):
    found = json.loads(terminal.plan("-o", "json", shape=dict(builders.SMOLLM2_REPORT))[1])
    assert (found["accelerator"], found["gpuMemoryFraction"]) == ("cpu", None)
    assert list(found) == PLAN_KEYS


def test_without_cards_the_terminal_names_its_own_option_beside_the_fixes(terminal):
    hint = "add --gpu 80Gi --gpus-per-node 8, --config or --cluster"
    assert hint in terminal.plan()[1]
    assert hint in terminal.plan(accelerators=[{"profile": "h100"}])[1]
    assert hint not in terminal.plan("--gpu", "8Gi")[1]
    assert hint not in terminal.plan(shape=dict(builders.SMOLLM2_REPORT))[1]


def test_what_strangers_wrote_does_not_reach_the_terminal_as_controls(terminal):
    config = terminal.llama["config"] | {"architectures": ["Ll\x1b[31mama\u202e"]}
    shape = terminal.llama | {"config": config, "commit": "\x1b[2J"}
    _, out, _ = terminal.plan(*ONE_CARD, shape=shape)
    assert "Ll\\x1b[31mama\\u202e" in out
    assert all(one.isprintable() or one == "\n" for one in out)
    _, _, err = terminal.plan(*ONE_CARD, **{"\x1b[31m": 5})
    assert "spec.\\x1b[31m: 5" in err
    assert "\x1b" not in err


def test_an_index_alone_is_not_said_to_be_the_headers(terminal, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"metadata": {"total_size": 16_060_522_496}}
    (folder / "config.json").write_text(json.dumps(terminal.llama["config"]))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model = terminal.write("model.yaml", builders.model_deployment())
    code, out, _ = terminal.run("-f", str(model), "--shape", str(folder), *ONE_CARD)
    assert code == 0
    assert "weights 14.96 GiB: from the total size alone, split evenly" in out
    assert "headers" not in out


def test_a_compute_capability_decides_the_dtype(terminal):
    dtypes = [
        json.loads(terminal.plan(*ONE_CARD, *words, "-o", "json")[1])["dtype"]
        for words in ((), ("--compute", "9.0"), ("--compute", "7.5"))
    ]
    assert dtypes == ["bfloat16", "bfloat16", "float16"]


def test_yaml_is_the_status_and_then_the_objects_without_secrets(terminal):
    config = terminal.write("config.yaml", CONFIG)
    code, out, _ = terminal.plan(
        "--config", str(config), "-o", "yaml", shape=dict(builders.SMOLLM2_REPORT)
    )
    status, *objects = yaml.safe_load_all(out)
    assert code == 0
    assert status["status"]["plan"]["accelerator"] == "cpu"
    assert [one["kind"] for one in objects][-1] == "Deployment"
    assert "Secret" not in [one["kind"] for one in objects]


def test_a_pool_that_the_configuration_declares_is_planned_for(terminal):
    config = terminal.write("config.yaml", CONFIG)
    code, out, _ = terminal.plan("--config", str(config), accelerators=[{"profile": "h100"}])
    assert code == 0
    assert "fits 1 x h100" in out


def test_the_charts_own_profiles_have_no_card_without_nodes(terminal):
    code, out, _ = terminal.plan("-o", "json")
    assert code == cli.EXIT_DOES_NOT_FIT
    assert json.loads(out)["accelerator"] == "cpu"


def test_a_value_that_the_operator_refuses_names_the_fix(terminal):
    code, out, _ = terminal.plan(*ONE_CARD, runtime={"extraArgs": ["--tensor-parallel-size=2"]})
    assert code == cli.EXIT_DOES_NOT_FIT
    assert "refused: InvalidSpec" in out
    assert "- set spec.parallelism.tensor" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-f", "/nowhere"), "-f /nowhere: .*; name a file that can be read"),
        (("-f", "{model}", "--config", "/nowhere"), "--config /nowhere"),
        (("-f", "{model}", "--shape", "/nowhere"), "--shape /nowhere"),
    ],
)
def test_an_input_that_cannot_be_read_ends_with_2(terminal, arguments, said):
    model = terminal.write("model.yaml", builders.model_deployment())
    code, out, err = terminal.run(*(one.format(model=model) for one in arguments))
    assert (code, out) == (cli.EXIT_INPUT, "")
    assert err.startswith("berth plan: ")
    assert re.search(said, err)


class Tty(io.StringIO):
    def isatty(self):
        return True


def test_only_a_terminal_has_colours_and_a_width():
    assert cli.screen(io.StringIO(), {}) == cli.Screen(columns=80, colours=False)
    assert cli.screen(Tty(), {}).colours
    assert not cli.screen(Tty(), {"NO_COLOR": "1"}).colours


def test_a_reader_that_stops_early_is_no_crash(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        cli.show("a plan")
        cli.show("and more")
