from hypothesis import given
from hypothesis import strategies as st

from berth_api.server import Measured
from berth_server import metrics

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 4.0
vllm:generation_tokens_total{engine="0",model_name="m"} 10.0
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e9
vllm:prompt_tokens_total{engine="0",model_name="m"} 5.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 3.0
vllm:cache_config_info{block_size="128",kv_cache_memory_bytes="1073741824",\
kv_cache_size_tokens="1048576",num_gpu_blocks="8192"} 1.0
"""


def test_gauges_are_summed_over_engines_and_by_exact_name():
    gauges = metrics.read(PAGE)
    assert (gauges.running, gauges.waiting) == (3.0, 4.0)


def test_progress_is_whatever_moves_with_a_step():
    assert metrics.read(PAGE).progress == 18.0


def test_the_kv_cache_is_read_from_the_info_metric():
    assert metrics.read(PAGE).measured == Measured(kv_cache_bytes=2**30, kv_cache_tokens=1048576)


def test_an_absent_metric_is_unknown_and_not_zero():
    assert metrics.read("") == metrics.Gauges()


def test_nonsense_values_are_unknown():
    page = 'vllm:num_requests_running{m="a"} +Inf\nvllm:num_requests_running{m="a"} NaN\nvllm:num_requests_waiting{m="a"} -1\n'
    gauges = metrics.read(page)
    assert (gauges.running, gauges.waiting) == (None, None)
    assert metrics.read('vllm:cache_config_info{kv_cache_memory_bytes="None"} 1.0').measured == (
        Measured()
    )


@given(st.text())
def test_any_page_is_read_without_an_error(page):
    metrics.read(page)
