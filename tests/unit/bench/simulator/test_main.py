"""The command from end to end, on traces that are small enough for a test."""

import json
import random
import sys

import pytest

from bench.simulator import __main__ as command


@pytest.fixture
def traces(tmp_path):
    rng = random.Random(3)
    table, lines = tmp_path / "a.csv", tmp_path / "b.jsonl"
    rows = [f"2023-11-16 18:{i // 60:02}:{i % 60:02}.0000000,500,60" for i in range(0, 1_800, 3)]
    table.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    lines.write_text(
        "\n".join(
            json.dumps({"timestamp": i * 3_000, "input_length": rng.randrange(99, 9_000),
                        "output_length": 50})
            for i in range(600)
        )
    )  # fmt: skip
    return ["--conversation", str(table), "--mooncake", str(lines)]


def test_tables_and_raw_numbers_come_of_any_traces(traces, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    monkeypatch.setattr(
        sys, "argv", ["x", *traces, "--seeds", "1", "--only", "HPA", "--out", str(out)]
    )
    command.main()
    shown = capsys.readouterr().out
    assert "| KEDA+HPA |" in shown
    rows = json.loads(out.read_text())
    assert {row["workload"] for row in rows} == {
        "conversation", "mooncake", "step", "ramp", "flash crowd",
    }  # fmt: skip
    assert all(row["requests"] > 0 and row["failed"] == 0 for row in rows)

    monkeypatch.setattr(sys, "argv", ["x", *traces, "--merge", str(out)])
    assert command.main() == 1  # no point of Berth's was measured, so no bar is met
    assert "| KEDA+HPA |" in capsys.readouterr().out


def test_without_traces_it_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("BERTH_TRACES", raising=False)
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--traces is missing" in capsys.readouterr().err
