"""`berth plan` shows what the operator itself would do, and its exit code says the same."""

import io
import json
import os
import re

import builders
import pytest
import yaml

from berth_api.types import Plan
from berth_cli import __main__ as cli

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
    assert found == Plan.model_validate(found).wire()
    assert found["fits"] is fits
    assert code == (0 if fits else 1)
    assert bool(found["nearestFixes"]) is not fits


def test_json_of_a_fitting_plan_is_what_the_operator_writes(terminal):
    found = json.loads(terminal.plan(*ONE_CARD, "-o", "json")[1])
    status, *_ = yaml.safe_load_all(terminal.plan(*ONE_CARD, "-o", "yaml")[1])
    assert status["status"]["plan"] == found


def test_json_of_a_refused_value_says_why_and_what_to_do(terminal):
    code, out, _ = terminal.plan(*ONE_CARD, "-o", "json", runtime={"maxModelLen": 1_000_000})
    found = json.loads(out)
    assert code == cli.EXIT_DOES_NOT_FIT
    assert found["fits"] is False
    assert "spec.runtime.maxModelLen" in found["explain"][0]
    assert found["nearestFixes"]


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
