import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import builders
import pytest
import yaml

from berth_cli import __main__ as cli

# The figures of Llama-3.1-8B: small enough for one card, too large for a small one.
LLAMA: dict[str, Any] = {
    "commit": "0e9e39f249a16976918f6564b8830bc894c89659",
    "config": dict(builders.LLAMA_8B_CONFIG),
    "tensorBytes": {"BF16": 16_060_522_496},
    "tensorCount": 291,
    "fileBytes": 16_060_556_376,
}
ONE_CARD = ("--gpu", "80Gi")


@dataclass(frozen=True)
class Terminal:
    """`berth plan` on files in a folder of its own."""

    folder: Path
    captured: pytest.CaptureFixture[str]
    llama: ClassVar[dict[str, Any]] = LLAMA

    def write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        text = json.dumps(content)
        path.write_text(text if name.endswith(".json") else yaml.safe_dump(json.loads(text)))
        return path

    def plan(self, *arguments: str, shape: Any = LLAMA, **spec: Any) -> tuple[int, str, str]:
        """Exit code, output and error output for a model of `shape`."""
        model = self.write("model.yaml", builders.model_deployment(**spec))
        answer = self.write("shape.json", shape)
        return self.run("-f", str(model), "--shape", str(answer), *arguments)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["plan", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self.captured.readouterr()
        return code, said.out, said.err


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, capsys)
