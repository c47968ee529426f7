"""docs/behaviours.md claims nothing without a test, and its tables are those of the code."""

import re
from pathlib import Path

import fields
import plans
import pytest
from engine_configs import engine_config

from berth_api.engine_flags import MANAGED, OF_ADAPTERS
from berth_api.pool import MAX_ENGINES, PoolSpec, Residency
from berth_api.server import EngineAdapters
from berth_api.spec import Queue, Spec
from berth_operator.core.objects.pod_template import start_timeout_seconds
from berth_operator.core.planner.wishes import USABLE_CONTEXT_TOKENS
from berth_server import args
from berth_server.binding import Cpus

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "behaviours.md").read_text(encoding="utf-8")
PEERS = ("Ollama", "LM Studio", "llama-swap")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
FLAG = re.compile(r"`(--?[a-z][a-z*-]*)`")
# envconfig/config.go of Ollama 0.17.
VARIABLES = """
AUTH CONTEXT_LENGTH DEBUG DEBUG_LOG_REQUESTS EDITOR FLASH_ATTENTION GO_TEMPLATE GPU_OVERHEAD HOST IGPU_ENABLE
KEEP_ALIVE KV_CACHE_TYPE LLM_LIBRARY LOAD_TIMEOUT MAX_LOADED_MODELS MAX_QUEUE MAX_TRANSFER_STREAMS MODELS NOHISTORY
NOPRUNE NO_CLOUD NUM_PARALLEL ORIGINS REMOTES SCHED_SPREAD VULKAN
"""
# Every flag that can be spelled.
ENGINE = engine_config(
    pipeline_parallel_size=2,
    expert_parallel=True,
    mm_encoder_tp_mode="data",
    block_size=16,
    gpu_memory_fraction="0.9",
    kv_cache_bytes=2**30,
    max_num_batched_tokens=2048,
    enforce_eager=True,
    adapters=EngineAdapters(slots=1, max_rank=8, modules=["q_proj"], folders={"a": "/a"}),
)


def rows(header: str) -> list[list[str]]:
    """The cells of all tables that begin with this column."""
    tables = [after.partition("\n\n")[0] for after in PAGE.split(f"| {header} |")[1:]]
    return [
        [cell.strip() for cell in row.strip("|").split(" | ")]
        for table in tables
        for row in table.splitlines()[2:]
    ]


def claims() -> list[list[str]]:
    return [row for peer in PEERS for row in rows(peer)]


def test_every_claim_is_the_same_or_differs_with_its_reason_and_has_a_test() -> None:
    assert len(claims()) > 50
    for behaviour, _, verdict, tests in claims():
        assert re.fullmatch(r"same|differs: .+", verdict), behaviour
        assert TEST.sub("", tests).replace("<br>", "").strip(" |") == "", behaviour
        assert TEST.search(tests), behaviour


@pytest.mark.parametrize("path", sorted({path for path, _ in TEST.findall(PAGE)}))
def test_every_test_that_the_page_names_is_there(path: str) -> None:
    named = {name for where, name in TEST.findall(PAGE) if where == path}
    assert named - set(DEFINED.findall((ROOT / path).read_text(encoding="utf-8"))) == set()


def test_every_variable_of_ollama_has_one_row() -> None:
    named = re.findall(r"`OLLAMA_([A-Z_]+)`", " ".join(row[0] for row in rows("variable")))
    assert sorted(named) == VARIABLES.split()


def flags() -> dict[str, str]:
    """Who decides each flag."""
    found = [(flag, row[1]) for row in rows("flags") for flag in FLAG.findall(row[0])]
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_flag_that_is_refused_has_a_row_with_the_field_that_its_fix_names() -> None:
    decided = flags()
    for flag, fix in (MANAGED | OF_ADAPTERS).items():
        assert fields.named(fix) <= fields.named(decided[flag]), flag


def test_every_flag_that_berth_sets_has_a_row() -> None:
    door = args.Door(engine_key_file="/key", max_queued_requests=1)
    argv = args.command(ENGINE, door, "/berth/model", Cpus(ids=(0, 1), count=2)).argv
    families = tuple(flag.rstrip("*") for flag in flags() if flag.endswith("*"))
    spelled = {word for word in argv if word.startswith("--") and not word.startswith(families)}
    assert spelled - set(flags()) == set()
    assert set(flags()) - set(MANAGED | OF_ADAPTERS) <= spelled


def test_every_field_that_is_named_exists() -> None:
    assert list(fields.missing(fields.named(PAGE), Spec, PoolSpec)) == []


@pytest.mark.parametrize(
    "said",
    [
        f"`minResidencySeconds` ({Residency().min_residency_seconds})",
        f"`starvationSeconds` ({Residency().starvation_seconds})",
        f"`maxEngines` ({MAX_ENGINES})",
        f"`spec.queue.maxWaitSeconds` ({Queue().max_wait_seconds})",
        f"`spec.queue.maxPending` is {Queue().max_pending}",
        f"at most {USABLE_CONTEXT_TOKENS // 1024}k",
        f"a start has {start_timeout_seconds(plans.gpu_plan(weights_bytes=0)) // 60} minutes",
    ],
)
def test_numbers_are_those_of_the_code(said: str) -> None:
    assert said in PAGE


def test_every_link_leads_to_a_page() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
