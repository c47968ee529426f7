"""What the status of a serving model says is true."""

from dev.installed import Berth


def test_the_kv_cache_is_the_planned_one_to_the_token(berth: Berth, model: str) -> None:
    status = berth.wait(model, lambda s: "measured" in s.get("plan", {}), seconds=60)
    plan = status["plan"]
    assert plan["measured"]["kvCacheTokens"] == plan["kvCacheTokens"]
    assert plan["measured"]["maxModelLen"] == plan["maxModelLen"]


def test_the_pod_stays_within_the_memory_that_was_planned(berth: Berth, model: str) -> None:
    plan = berth.wait(model, lambda s: "measured" in s.get("plan", {}), seconds=60)["plan"]
    assert plan["measured"]["residentBytes"] <= plan["memoryBytes"]


def test_the_columns_say_that_it_serves(berth: Berth, model: str) -> None:
    header, line = berth.kubectl("get", "mdep", model).splitlines()
    for column, value in {"PHASE": "Serving", "READY": "True", "REASON": "Serving"}.items():
        assert line[header.index(column) :].split()[0] == value


def test_conditions_agree(berth: Berth, model: str) -> None:
    conditions = {c["type"]: c for c in berth.status(model)["conditions"]}
    true = ("Ready", "Planned", "Scheduled", "ModelCached", "RuntimeHealthy", "Routed")
    assert [t for t in true if conditions[t]["status"] != "True"] == []
    assert conditions["Progressing"]["reason"] == "RolloutComplete"
