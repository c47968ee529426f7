"""The command line: what it takes, and what it says to what it does not."""

from pathlib import Path

import pytest

from berth_cli import arguments
from berth_cli.arguments import Card, Cluster


def parse(*words):
    return arguments.parse(["plan", "-f", "model.yaml", *words])


def test_a_card_has_one_neighbour_less_than_is_said():
    assert parse("--gpu", "80Gi").card == Card("80Gi", 1, None, None)
    assert parse("--gpu", "80Gi", "--gpus-per-node", "8").card == Card("80Gi", 8, None, None)


def test_without_a_card_there_is_none():
    found = parse()
    assert (found.card, found.config, found.cluster, found.output) == (None, None, None, "text")


def test_a_cluster_is_that_of_the_usual_release():
    assert parse("--cluster").cluster == Cluster(None, None, "berth-system")
    found = parse("--cluster", "--kubeconfig=k", "--context=c", "--namespace=n").cluster
    assert found == Cluster(Path("k"), "c", "n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "eighty"], "--gpu: 'eighty' is not a quantity; write for example 80Gi"),
        (["--gpu", "80GB"], "--gpu: '80GB' is not a quantity; write 80G or 80Gi"),
        (["--gpu", "39.5 gib"], "write 39.5G or 39.5Gi"),
        (["--gpu=80Gi", "--compute", "9"], "--compute: '9' is no compute capability; write for"),
        (["--compute", "9.0"], "--compute: 9.0 says nothing without --gpu"),
        (["--gpu", "80"], "--gpu: 80 is 80 bytes, and a card has 1Gi to 4096Gi"),
        (["--gpu", "80Ti"], "--gpu: 80Ti is 87960930222080 bytes"),
        (["--gpu=80Gi", "--gpus-per-node", "0"], "'0' is not a number of 1 to 1024"),
        (["--gpu=80Gi", "--gpus-per-node", "1025"], "'1025' is not a number of 1 to 1024"),
        (["--gpu=80Gi", "--gpus-per-node", "two"], "'two' is not a number of 1 to 1024"),
        (["--gpu=80Gi", "--resource", "a b"], "'a b' is no extended resource; write for example"),
        (["--gpus-per-node", "8"], "--gpus-per-node: 8 says nothing without --gpu"),
        (["--engine-profile", "x"], "--engine-profile: x says nothing without --gpu"),
        (["--namespace", "x"], "--namespace: x says nothing without --cluster"),
        (["--config", "a", "--cluster"], "not allowed with"),
        (["-o", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value_and_the_fix(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
