"""`berth plan` shows what the operator itself would do."""

import json
from pathlib import Path

import builders
import pytest
import yaml

from berth_cli import __main__ as cli


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "file": builders.model_deployment(),
        "config": builders.configured().model_dump(mode="json", by_alias=True),
        "shape": dict(builders.SMOLLM2_REPORT),
    }
    paths = {name: tmp_path / f"{name}.yaml" for name in contents}
    for name, content in contents.items():
        paths[name].write_text(yaml.safe_dump(json.loads(json.dumps(content))), encoding="utf-8")
    return paths


def run(monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> int:
    flags = [f"--{name}={path}" for name, path in files.items()]
    monkeypatch.setattr("sys.argv", ["berth", "plan", *flags])
    return cli.main()


def test_the_plan_and_the_objects_are_printed(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, files) == 0
    status, *objects = yaml.safe_load_all(capsys.readouterr().out)
    assert status["status"]["plan"]["weightsBytes"] == 2 * builders.SMOLLM2_BYTES
    assert [one["kind"] for one in objects][-1] == "Deployment"
    assert "Secret" not in [one["kind"] for one in objects]


def test_what_does_not_fit_ends_with_1(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = builders.model_deployment(
        accelerators=[{"profile": "cpu"}], resources={"memory": "1Gi"}
    )
    files["file"].write_text(yaml.safe_dump(small), encoding="utf-8")
    assert run(monkeypatch, files) == cli.EXIT_DOES_NOT_FIT
    assert "DoesNotFit" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_ends_with_2(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files["config"].write_text("engineProfiles: 7", encoding="utf-8")
    assert run(monkeypatch, files) == cli.EXIT_INPUT
    assert "engineProfiles" in capsys.readouterr().err
