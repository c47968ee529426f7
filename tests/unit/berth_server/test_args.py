import pytest
from engine_configs import engine_config

from berth_api.server import EngineAdapters, EngineConfig, ServerConfig
from berth_server import args, variables
from berth_server.binding import Cpus
from berth_server.errors import ConfigurationError


def engine(**changes) -> EngineConfig:
    return engine_config(**({"gpu_memory_fraction": "0.9"} | changes))


def server(config: EngineConfig) -> ServerConfig:
    return ServerConfig(
        namespace="team-a",
        model="tiny",
        revision="abc",
        engines=[config],
        status_port=8090,
        engine_key_file="/berth/engine-key/engineKey",
        max_queued_requests=320,
        drain_timeout_seconds=300,
        stall_timeout_seconds=120,
        start_timeout_seconds=1800,
    )


EIGHT = Cpus(ids=tuple(range(8)), count=8)


def command(cpus: Cpus = EIGHT, **changes) -> args.Command:
    config = engine(**changes)
    return args.command(config, server(config), "/berth/model/m", cpus)


def on_cpu(cpus: Cpus = EIGHT, **changes) -> dict[str, str]:
    """The environment of an engine on CPU."""
    given = {"device": "cpu", "gpu_memory_fraction": None, "kv_cache_bytes": 2**30} | changes
    return command(cpus, **given).environment


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_a_gpu_engine_is_spelled_in_vllms_flags():
    assert command().argv == [
        "vllm", "serve", "/berth/model/m",
        "--served-model-name", "tiny",
        "--host", "0.0.0.0",
        "--port", "8000",
        "--middleware", "berth_server.admission.Admission",
        "--load-format", "safetensors",
        "--dtype", "bfloat16",
        "--kv-cache-dtype", "auto",
        "--tensor-parallel-size", "1",
        "--max-model-len", "4096",
        "--max-num-seqs", "64",
        "--gpu-memory-utilization", "0.9",
        "--disable-uvicorn-access-log",
    ]  # fmt: skip


def test_the_module_entry_point_takes_the_model_by_a_flag():
    argv = command(command=["python3", "-m", "vllm.entrypoints.openai.api_server"]).argv
    assert argv[3:5] == ["--model", "/berth/model/m"]


def test_on_cpu_the_kv_cache_is_given_in_bytes_and_no_fraction():
    argv = command(device="cpu", gpu_memory_fraction=None, kv_cache_bytes=2**30).argv
    assert value(argv, "--kv-cache-memory-bytes") == "1073741824"
    assert "--gpu-memory-utilization" not in argv


def test_the_legacy_cpu_variable_cannot_overrule_the_flag():
    whole = command().applied_to({"VLLM_CPU_KVCACHE_SPACE": "40", "PATH": "/bin"})
    assert "VLLM_CPU_KVCACHE_SPACE" not in whole
    assert whole["PATH"] == "/bin"


@pytest.mark.parametrize("name", args.UNSET)
def test_neither_a_user_nor_a_profile_can_set_what_would_overrule_a_flag(name):
    inherited = {name: "from podTemplate.env or the image"}
    assert name not in command(env={name: "from the profile"}).applied_to(inherited)


def test_the_engine_never_sees_the_hubs_token_nor_a_second_key():
    whole = command().applied_to({"HF_TOKEN": "hf_secret", "VLLM_API_KEY": "k"})
    assert whole.keys().isdisjoint({"HF_TOKEN", "VLLM_API_KEY"})


def test_eager_mode_is_a_switch():
    assert "--enforce-eager" not in command().argv
    assert "--enforce-eager" in command(enforce_eager=True).argv


def test_the_users_arguments_come_last_and_untouched():
    extra = ["--enable-prefix-caching", "--seed", "7"]
    assert command(extra_args=extra).argv[-3:] == extra


def test_a_managed_flag_is_refused_with_what_to_do_instead():
    with pytest.raises(ConfigurationError, match=r"--port is managed by Berth: remove it"):
        command(extra_args=["--port=1"])


def test_the_middleware_is_configured_by_variables_that_no_profile_can_change():
    environment = command(env={variables.MAX_IN_FLIGHT: "1", "OMP_NUM_THREADS": "2"}).environment
    assert environment[variables.MAX_IN_FLIGHT] == "320"
    assert environment[variables.ENGINE_KEY_FILE] == "/berth/engine-key/engineKey"
    assert environment["OMP_NUM_THREADS"] == "2"


def test_the_engine_serves_offline():
    assert command().environment["HF_HUB_OFFLINE"] == "1"


def test_ranks_on_cpu_are_bound_to_what_the_pod_may_use():
    assert on_cpu()["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    two = on_cpu(tensor_parallel_size=2)
    assert two["VLLM_CPU_OMP_THREADS_BIND"] == "0,1,2,3|4,5,6,7"
    assert (two["OMP_NUM_THREADS"], two[variables.FORK]) == ("3", "1")


def test_a_replica_on_cpu_has_the_ranks_of_both_splits():
    four = on_cpu(tensor_parallel_size=2, pipeline_parallel_size=2)
    assert four["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3|4,5|6,7"


@pytest.mark.parametrize("split", ["tensor_parallel_size", "pipeline_parallel_size"])
def test_more_ranks_than_cpus_are_refused_with_what_to_do(split):
    with pytest.raises(ConfigurationError, match=r"spec\.parallelism\.tensor to 3 or less"):
        on_cpu(Cpus(ids=tuple(range(8)), count=3), **{split: 4})


def test_ranks_on_gpus_are_the_drivers_to_place():
    environment = command(tensor_parallel_size=8, cpus=Cpus(ids=(0,), count=1)).environment
    assert environment.keys().isdisjoint({"VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS"})


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"pipeline_parallel_size": 2}, ["--pipeline-parallel-size", "2"]),
        ({"mm_encoder_tp_mode": "data"}, ["--mm-encoder-tp-mode", "data"]),
        ({"block_size": 32}, ["--block-size", "32"]),
        ({"expert_parallel": True}, ["--enable-expert-parallel"]),
    ],
)
def test_what_a_plan_rarely_asks_for_is_spelled_only_then(changes, flags):
    argv = command(**changes).argv
    at = argv.index(flags[0])
    assert argv[at : at + len(flags)] == flags
    assert flags[0] not in command().argv


ADAPTERS = EngineAdapters(
    slots=2, max_rank=16, modules=["q_proj", "qkv_proj"], folders={"sql": "/a", "poems": "/b"}
)


def test_adapters_are_slots_of_one_rank_and_all_stay_in_host_memory():
    argv = command(adapters=ADAPTERS).argv
    start = argv.index("--enable-lora")
    assert argv[start : argv.index("--served-model-name")] == [
        *("--enable-lora", "--max-loras", "2", "--max-lora-rank", "16", "--max-cpu-loras", "2"),
        *("--lora-target-modules", "q_proj", "qkv_proj"),
    ]


def test_the_users_own_flags_come_after_those_of_adapters():
    argv = command(adapters=ADAPTERS, extra_args=["--seed", "7"]).argv
    assert argv[-2:] == ["--seed", "7"]


def test_the_engine_asks_for_adapters_only_where_there_are_some():
    with_some = command(adapters=ADAPTERS).environment
    assert with_some["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert with_some[variables.ADAPTERS] == '{"sql": "/a", "poems": "/b"}'
    without = command().environment
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in without
    assert variables.ADAPTERS not in without


@pytest.mark.parametrize(
    "name", ["VLLM_LORA_RESOLVER_CACHE_DIR", "VLLM_LORA_RESOLVER_HF_REPO_LIST"]
)
def test_nobody_else_offers_adapters(name):
    assert name not in command(adapters=ADAPTERS).applied_to({name: "/x"})
