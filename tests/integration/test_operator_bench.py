"""`python -m bench.operator` starts, and counts what it promises: a bench that nobody runs breaks."""

import re
import subprocess
import sys

from dev import places

MODELS = 10
SECONDS = 300
CHILDREN = ("Service", "PodDisruptionBudget", "ControllerRevision", "Deployment")
STATUS_WRITES = 3  # of a model, at most
OWN_SECRETS = 3  # the release's, made at the first start


def test_ten_models_are_written_once_and_neither_rest_nor_a_restart_writes() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "bench.operator", "bare", f"--models={MODELS}", "--rest-seconds=3"],
        cwd=places.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    writes = written(said.stdout)
    assert MODELS <= writes.pop("ModelDeployment") <= MODELS * STATUS_WRITES
    del writes["Event"]  # each told once, with as many writes as there is to tell
    assert writes == dict.fromkeys(CHILDREN, MODELS) | {"Secret": MODELS + OWN_SECRETS}
    rests = re.findall(r"(\d+) at rest: [\d.]+ core, (\d+) writes", said.stdout)
    assert rests == [(str(MODELS), "0")] * 2, said.stdout
    assert re.findall(r"after a restart: .*, (\d+) writes", said.stdout) == ["0"], said.stdout


def written(said: str) -> dict[str, int]:
    """By kind, of the line that tells it for each model."""
    line = next(line for line in said.splitlines() if "writes a model:" in line)
    found = re.findall(r"(\w+) (\d+\.\d\d)\b", line.partition(":")[2])
    return {kind: round(float(number) * MODELS) for kind, number in found}
