"""Without Berth its models serve on, what was made with it stays, and a new install finds both."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from e2e.upgrades.administrator import Administrator, engines
from openai import OpenAI

from berth_api import names
from dev import standin
from dev.installed import RELEASE, SYSTEM, Berth

NAMESPACE = "berth-e2e-uninstall"
MODEL = "stays"
SERVING_SECONDS = 120
GONE_SECONDS = 60
SCALED_SECONDS = 60
# Made by the operator, not by the chart.
SECRETS = (names.SECRET_ENGINE_MASTER, names.SECRET_API_KEYS, names.SECRET_FIRST_API_KEY)
# Of all that the chart installs.
KINDS = (
    "deployments,pods,services,configmaps,serviceaccounts,poddisruptionbudgets,"
    "roles,rolebindings,clusterroles,clusterrolebindings"
)
MESSAGES = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class Kept:
    """What must be the same without Berth and with the next."""

    engines: dict[str, int]
    secrets: dict[str, dict[str, str]]
    model: str
    revision: str


@dataclass(frozen=True)
class Life:
    """Before Berth was uninstalled, without it, and after it was installed again."""

    before: Kept
    without: Kept
    engine_answered: int
    after: Kept


@pytest.fixture(scope="module")
def life(berth: Berth, administrator: Administrator) -> Iterator[Life]:
    with standin.hub(berth, NAMESPACE):
        berth.apply(
            standin.model(
                NAMESPACE,
                MODEL,
                "hf://berth/tiny",
                replicas=1,
                resources={"memory": standin.LEAST_MEMORY},
            )
        )
        wait_until_it_serves(berth)
        before = kept(berth)
        with same_address(berth):
            administrator.uninstall()
            berth.wait_until("Berth is gone", lambda: not of_the_chart(berth), seconds=GONE_SECONDS)
            without, answered = kept(berth), ask_the_engine(berth)
        administrator.restore()
        yield Life(before, without, answered, kept(berth))


def wait_until_it_serves(berth: Berth) -> None:
    berth.wait(
        MODEL,
        lambda status: status.get("phase") == "Serving",
        seconds=SERVING_SECONDS,
        namespace=NAMESPACE,
    )


def kept(berth: Berth) -> Kept:
    model = berth.get("modeldeployment", MODEL, NAMESPACE)
    return Kept(
        engines=engines(berth, NAMESPACE),
        secrets={name: berth.get("secret", name, SYSTEM)["data"] for name in SECRETS},
        model=model["metadata"]["uid"],
        revision=model["status"]["updateRevision"],
    )


def of_the_chart(berth: Berth) -> list[str]:
    selector = f"{names.LABEL_INSTANCE}={RELEASE},{names.LABEL_NAME}={names.PART_OF}"
    found = berth.all(KINDS, SYSTEM, selector)
    return [f"{one['kind']} {one['metadata']['name']}" for one in found]


@contextmanager
def same_address(berth: Berth) -> Iterator[None]:
    """The next install takes over this Service: other tests know Berth by its address."""
    service = berth.get("service", RELEASE, SYSTEM)
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        service["metadata"].pop(field)
    try:
        yield
    finally:
        berth.apply(service)


def ask_the_engine(berth: Berth) -> int:
    """As the gateway would: with the engine's own key."""
    (pod,) = berth.all("pods", NAMESPACE, f"{names.LABEL_ROLE}={names.ROLE_ENGINE}")
    secret = berth.get("secret", names.engine_key_secret(MODEL), NAMESPACE)
    key = base64.b64decode(secret["data"][names.ENGINE_KEY_FIELD]).decode()
    answer = httpx.post(
        f"http://{pod['status']['podIP']}:{names.PORT_ENGINE}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": MODEL, "messages": MESSAGES, "max_tokens": 4},
        timeout=30,
    )
    return answer.status_code


def test_a_model_serves_on_without_berth(life: Life) -> None:
    assert life.engine_answered == httpx.codes.OK


def test_models_and_keys_stay(life: Life) -> None:
    assert life.without == life.before


def test_a_new_install_goes_on_with_the_same_engines_and_keys(life: Life, client: OpenAI) -> None:
    assert life.after == life.before
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4)
    assert answer.choices[0].message.content


def test_a_new_install_obeys_what_is_changed(berth: Berth, life: Life) -> None:
    patch = json.dumps({"spec": {"replicas": 2}})
    where = f"--namespace={NAMESPACE}"
    berth.kubectl("patch", "mdep", MODEL, where, "--type=merge", f"--patch={patch}")
    berth.wait(
        MODEL,
        lambda status: status.get("readyReplicas") == 2,
        seconds=SCALED_SECONDS,
        namespace=NAMESPACE,
    )
    assert life.before.engines.items() <= engines(berth, NAMESPACE).items()
