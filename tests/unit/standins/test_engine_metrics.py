from berth_server import metrics
from standins.engine_metrics import Measured, Page, Times
from standins.engine_steps import Asked, Costs, Limits, Scheduler


def page(scheduler, measured, waiting=0):
    return Page(scheduler, measured, "m", 64 * 2**20, waiting).text().decode()


def made():
    return Scheduler(Limits(block_tokens=4, blocks=8), Costs(1.0)), Measured(2048, 1000.0)


def test_the_gauges_follow_the_scheduler():
    scheduler, measured = made()
    scheduler.add(Asked(prompt=8, output=9))
    scheduler.step()
    text = page(scheduler, measured, waiting=3)
    assert 'vllm:num_requests_running{engine="0",model_name="m"} 1.0' in text
    assert 'vllm:num_requests_waiting{engine="0",model_name="m"} 3.0' in text
    assert 'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25' in text
    assert (
        'vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 3.0'
        in text
    )


def test_berths_own_reader_finds_what_it_reads_of_vllms_page():
    scheduler, measured = made()
    scheduler.add(Asked(prompt=8, output=9))
    measured.stepped(scheduler.step())
    gauges = metrics.read(page(scheduler, measured))
    assert (gauges.running, gauges.waiting) == (1.0, 0.0)
    assert gauges.progress == 1 + 1 + 8  # steps, generated and prompt tokens
    assert gauges.measured.kv_cache_bytes == 64 * 2**20
    assert gauges.measured.kv_cache_tokens == 32


def test_a_finished_request_is_in_every_histogram():
    scheduler, measured = made()
    asked = Asked(prompt=7, output=4, produced=4)
    measured.ended(asked, Times(arrived=1.0, started=1.5, first=2.0, last=5.0), "length")
    text = page(scheduler, measured)
    labels = '{engine="0",model_name="m"}'
    for name, seconds in (
        ("e2e_request_latency", 4.0),
        ("request_queue_time", 0.5),
        ("request_prefill_time", 0.5),
        ("request_decode_time", 3.0),
        ("request_inference_time", 3.5),
        ("request_time_per_output_token", 1.0),
    ):
        assert f"vllm:{name}_seconds_sum{labels} {seconds}" in text
    assert 'finished_reason="length",model_name="m"} 1.0' in text


def test_buckets_are_vllms_and_a_value_on_a_bound_is_below_it():
    scheduler, measured = made()
    measured.observe("time_to_first_token_seconds", 0.001)
    measured.observe("time_to_first_token_seconds", 5000, times=2)
    text = page(scheduler, measured)
    name = "vllm:time_to_first_token_seconds_bucket"
    assert f'{name}{{engine="0",le="0.001",model_name="m"}} 1.0' in text
    assert f'{name}{{engine="0",le="2560.0",model_name="m"}} 1.0' in text
    assert f'{name}{{engine="0",le="+Inf",model_name="m"}} 3.0' in text


def test_rejections_have_no_engine_label():
    scheduler, measured = made()
    line = 'vllm:admission_rejections_total{model_name="m",reason="max_num_queued_reqs"} 0.0'
    assert line in page(scheduler, measured)


def test_every_counter_tells_since_when():
    text = page(*made())
    assert 'vllm:prefix_cache_hits_created{engine="0",model_name="m"} 1000.0' in text
