"""The text: what a person reads of a plan."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_cli import report


def section(text, title):
    """The lines below a title, up to an empty one."""
    lines = text.split("\n")
    start = next(index for index, line in enumerate(lines) if line.startswith(title)) + 1
    rest = lines[start:]
    return rest[: rest.index("")] if "" in rest else rest


def test_sequences_are_told_at_1k_8k_and_the_full_context(terminal):
    _, out, _ = terminal.plan("--gpu", "80Gi", runtime={"maxModelLen": 32768})
    rows = [re.findall(r"\d+", line) for line in section(out, "Sequences at once")]
    assert [int(row[0]) for row in rows] == [1024, 8192, 32768]
    found = json.loads(
        terminal.plan("--gpu", "80Gi", "-o", "json", runtime={"maxModelLen": 32768})[1]
    )
    assert int(rows[-1][1]) == found["maxConcurrency"]


def test_a_short_context_is_told_alone(terminal):
    _, out, _ = terminal.plan("--gpu", "80Gi", runtime={"maxModelLen": 1024})
    assert len(section(out, "Sequences at once")) == 1


def test_more_sequences_than_a_batch_takes_are_told_apart(terminal):
    runtime = {"maxModelLen": 1024, "maxNumSeqs": 4}
    _, out, _ = terminal.plan("--gpu", "80Gi", runtime=runtime)
    assert section(out, "Sequences at once")[0].endswith(", 4 of them computed")


def test_the_engine_is_shown_with_the_plans_flags(terminal):
    _, out, _ = terminal.plan("--gpu", "80Gi", runtime={"maxModelLen": 4096})
    engine = section(out, "Engine:")
    assert engine[0].strip().startswith("vllm serve /")
    assert "  --max-model-len 4096" in engine
    assert "  --tensor-parallel-size 1" in engine


def test_every_object_is_named_in_the_order_of_its_creation(terminal):
    _, out, _ = terminal.plan("--gpu", "80Gi")
    kinds = [line.split()[0] for line in section(out, "Objects:")]
    assert kinds == ["Secret", "Service", "PodDisruptionBudget", "ControllerRevision", "Deployment"]


def test_smaller_sizes_are_told_with_the_reason(terminal):
    _, out, _ = terminal.plan("--gpu", "12Gi", "--gpus-per-node", "4")
    assert section(out, "Not chosen:")[0].startswith("  - 1 x gpu-12gi: ")


def test_what_does_not_fit_has_fixes_and_no_objects(terminal):
    _, out, _ = terminal.plan("--gpu", "8Gi")
    assert section(out, "What would help:")
    assert "Objects: none" in out
    assert "Sequences at once" not in out
    assert "Engine:" not in out


def test_a_paused_model_creates_nothing(terminal):
    code, out, _ = terminal.plan("--gpu", "80Gi", paused=True)
    assert code == 0
    assert "Objects: none" in out


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_sentences_are_folded_to_the_screen_and_no_word_is_broken(columns):
    line = "set spec.parallelism.tensor to 2, or use a card of 80.00 GiB"
    folded = report.folded(line, report.Screen(columns), "  - ")
    assert " ".join(" ".join(folded).split()) == f"- {line}"
    assert all(len(one) <= columns or len(one.split()) == 1 for one in folded)


def test_no_line_is_blank_at_its_end(terminal):
    _, out, _ = terminal.plan("--gpu", "80Gi")
    assert [line for line in out.split("\n") if line != line.rstrip()] == []


@pytest.mark.parametrize("words", [["vllm", "serve", "/m"], ["python3", "-m", "vllm"]])
@given(st.lists(st.sampled_from(["--a 1", "--b", "--c x"])))
def test_a_command_is_wrapped_before_flags_only(words, flags):
    argv = [*words, *(part for flag in flags for part in flag.split())]
    lines = list(report._wrapped(argv))
    assert " ".join(" ".join(lines).split()) == " ".join(argv)
    assert len(lines) == 1 + len(flags)
