"""Every flag that Berth renders, replayed against the pinned engine's own parser.

A flag that the engine has renamed or dropped, or reads into another field, fails here and not in a
cluster.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from berth_api import names
from berth_api.engine_flags import MANAGED, refused
from berth_api.server import EngineAdapters, EngineConfig, ServerConfig
from berth_server import args
from berth_server.binding import Cpus
from standins import tiny_model

ORACLE = Path(__file__).with_name("oracle_flags.py")
MEMORY = Path(__file__).with_name("oracle_cpu_memory.py")
GOLDEN = Path(__file__).parents[1] / "golden" / "operator"
MODEL_DIR = "/tmp"  # offline, the engine looks for a folder before it reads anything else
CPUS = Cpus(ids=tuple(range(16)), count=16)

# Where the engine keeps what each field of an EngineConfig asks for; None is not asked for.
ARRIVES: dict[str, Callable[[EngineConfig], object]] = {
    "model": lambda _: MODEL_DIR,
    "served_model_name": lambda e: [e.name],
    "host": lambda _: "0.0.0.0",
    "port": lambda e: e.port,
    "middleware": lambda _: [args.MIDDLEWARE],
    "load_format": lambda _: "safetensors",
    "disable_uvicorn_access_log": lambda _: True,
    "dtype": lambda e: e.dtype,
    "kv_cache_dtype": lambda e: e.kv_cache_dtype,
    "tensor_parallel_size": lambda e: e.tensor_parallel_size,
    "pipeline_parallel_size": lambda e: e.pipeline_parallel_size,
    "enable_expert_parallel": lambda e: e.expert_parallel,
    "mm_encoder_tp_mode": lambda e: e.mm_encoder_tp_mode,
    "block_size": lambda e: e.block_size,
    "gpu_memory_utilization": lambda e: e.gpu_memory_fraction and float(e.gpu_memory_fraction),
    "kv_cache_memory_bytes": lambda e: e.kv_cache_bytes,
    "max_model_len": lambda e: e.max_model_len,
    "max_num_seqs": lambda e: e.max_num_seqs,
    "max_num_batched_tokens": lambda e: e.max_num_batched_tokens,
    "enforce_eager": lambda e: e.enforce_eager,
    "enable_lora": lambda e: e.adapters and True,
    "max_loras": lambda e: e.adapters and e.adapters.slots,
    "max_lora_rank": lambda e: e.adapters and e.adapters.max_rank,
    "max_cpu_loras": lambda e: e.adapters and len(e.adapters.folders),
    "lora_target_modules": lambda e: e.adapters and e.adapters.modules,
}
# What an EngineConfig says of the process and not of the engine.
NOT_FLAGS = {"name", "command", "device", "model_dir", "extra_args", "env", "allow_unsupported"}

EVERYTHING = EngineConfig(
    name="everything",
    command=["vllm", "serve"],
    device="cuda",
    port=8123,
    model_dir="/berth/model",
    dtype="float16",
    kv_cache_dtype="fp8",
    tensor_parallel_size=4,
    pipeline_parallel_size=2,
    expert_parallel=True,
    mm_encoder_tp_mode="data",
    block_size=32,
    gpu_memory_fraction="0.85",
    kv_cache_bytes=3 * 2**30 + 1,
    max_model_len=32768,
    max_num_seqs=48,
    max_num_batched_tokens=4096,
    enforce_eager=True,
    adapters=EngineAdapters(
        slots=3,
        max_rank=320,
        modules=["o_proj", "q_proj", "qkv_proj"],
        folders={f"adapter-{place}": f"/berth/claims/{place}" for place in range(5)},
    ),
)
# The oldest configuration that a stored revision may hold: every field that has a default left out.
LEAST = EngineConfig(
    name="least",
    command=["vllm", "serve"],
    device="cpu",
    port=8000,
    model_dir="/berth/model",
    dtype="auto",
    max_model_len=2048,
    max_num_seqs=8,
)


def rendered() -> Iterator[tuple[str, ServerConfig]]:
    """The servers' configurations in the golden files, by file."""
    for file in sorted(GOLDEN.glob("*.yaml")):
        for thing in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            pod = thing.get("spec", {}).get("template", {}).get("spec", {})
            for container in pod.get("containers", []):
                for variable in container.get("env", []):
                    if variable["name"] == names.ENV_SERVER_CONFIG:
                        yield file.stem, ServerConfig.model_validate(variable["value"])


GIVEN = dict(rendered())
ENGINES = {name: server.engines[0] for name, server in GIVEN.items()} | {
    "everything": EVERYTHING,
    "least": LEAST,
}
SERVER = next(iter(GIVEN.values()))
ARGV = {
    name: args.command(engine, GIVEN.get(name, SERVER), MODEL_DIR, CPUS).argv
    for name, engine in ENGINES.items()
}


@pytest.fixture(scope="module")
def engine(engine_python):
    return engine_python(ORACLE, {"commands": list(ARGV.values())})


@pytest.fixture(scope="module")
def parsed(engine):
    return dict(zip(ARGV, engine["parsed"], strict=True))


@pytest.fixture(scope="module")
def options(engine) -> list[list[str]]:
    """The names of each of the engine's options, long and short, deprecated ones too."""
    return engine["options"]


def test_there_is_a_golden_file_for_each_device():
    assert {engine.device for engine in ENGINES.values()} >= {"cuda", "cpu"}
    # A pool's pod is told its engines later, so that none is in its template.
    dedicated = [one for one in GOLDEN.glob("*.yaml") if not one.name.startswith("pool-")]
    assert len(GIVEN) >= len(dedicated) > 0


def test_every_field_of_a_configuration_is_looked_for():
    class Noting(EngineConfig):
        def __getattribute__(self, name):
            seen.add(name)
            return super().__getattribute__(name)

    seen: set[str] = set()
    noting = Noting(**EVERYTHING.model_dump())
    seen.clear()
    for find in ARRIVES.values():
        find(noting)
    assert (
        seen & EngineConfig.model_fields.keys()
        >= EngineConfig.model_fields.keys() - NOT_FLAGS - {"name"}
    )


@pytest.mark.parametrize("name", ENGINES)
def test_each_value_arrives_in_its_field(parsed, name):
    wanted = {field: find(ENGINES[name]) for field, find in ARRIVES.items()}
    asked = {field: value for field, value in wanted.items() if value is not None}
    assert {field: parsed[name][field] for field in asked} == asked


@pytest.mark.parametrize("name", ENGINES)
def test_the_engine_decides_what_is_not_asked_for(parsed, name):
    """As it would without Berth: a value that is not set is not a value that Berth makes up."""
    unset = [field for field, find in ARRIVES.items() if find(ENGINES[name]) is None]
    assert {f: parsed[name][f] for f in unset} == {f: parsed["least"][f] for f in unset}


@pytest.mark.parametrize("name", ENGINES)
def test_no_flag_is_an_abbreviation(options, name):
    """The parser completes `--max-num-s`; a rendered flag is one that exists."""
    known = {option for group in options for option in group}
    flags = [part for part in ARGV[name] if part.startswith("--")]
    assert [flag for flag in flags if flag not in known] == []


def test_the_module_entry_point_is_understood_alike(engine_python):
    module = EVERYTHING.model_copy(
        update={"command": ["python3", "-m", "vllm.entrypoints.openai.api_server"]}
    )
    argv = args.command(module, SERVER, MODEL_DIR, CPUS).argv
    serve, alone = engine_python(ORACLE, {"commands": [ARGV["everything"], argv]})["parsed"]
    assert {field: alone[field] for field in ARRIVES} == {field: serve[field] for field in ARRIVES}


def test_every_managed_flag_is_one_of_the_engines(options):
    """A renamed flag is one that users may pass again."""
    known = [option for group in options for option in group]
    found = {
        flag: any(o.startswith(flag[:-1]) if flag.endswith("*") else o == flag for o in known)
        for flag in MANAGED
    }
    assert [flag for flag, exists in found.items() if not exists] == []


def test_an_option_is_managed_by_all_of_its_names(options):
    """Or a user could write the other one."""
    for group in options:
        caught = {option: bool(refused([option])) for option in group}
        assert len(set(caught.values())) == 1, caught


def test_an_option_that_berth_leaves_to_users_is_not_mistaken_for_a_managed_one(options):
    families = tuple(flag[:-1] for flag in MANAGED if flag.endswith("*"))
    for group in options:
        managed = any(option in MANAGED or option.startswith(families) for option in group)
        assert bool(refused([group[-1]])) == managed, group


CPU = LEAST.model_copy(update={"kv_cache_bytes": 3 * 2**30, "dtype": "float32"})
LEGACY = {"VLLM_CPU_KVCACHE_SPACE": "40"}  # GiB


def test_on_cpu_the_engine_takes_the_planned_kv_bytes_whatever_else_is_set(engine_python):
    command = args.command(CPU.model_copy(update={"env": LEGACY}), SERVER, MODEL_DIR, CPUS)
    assert kv_bytes(engine_python, command.argv, command.applied_to(LEGACY)) == CPU.kv_cache_bytes


def test_the_legacy_variable_would_overrule_the_flag(engine_python):
    """Else it need not be taken away from users."""
    command = args.command(CPU, SERVER, MODEL_DIR, CPUS)
    assert kv_bytes(engine_python, command.argv, command.environment | LEGACY) == 40 * 2**30


def kv_bytes(engine_python, argv: list[str], environment: dict[str, str]) -> int:
    files = {name: text.decode() for name, text in tiny_model.worded().items() if "json" in name}
    given = {"argv": argv, "environment": environment, "files": files}
    return engine_python(MEMORY, given)["kv_cache_memory_bytes"]
