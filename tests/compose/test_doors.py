"""What of a running stack can be reached from outside, by whom, and where it leads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.compose.docker import ONE_OFF_LABEL, docker
from tests.compose.stack import START_TIMEOUT_S, ComposeStack, in_container, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(START_TIMEOUT_S + 1600)]

SIDES = (("SIMULATOR_PORT", "socratic"), ("RESPONDENT_PORT", "platolm"))
TALKS: dict[str, list[Any]] = {
    "socratic": [],
    "platolm": [{"role": "user", "content": "How do I keep a basil plant alive?"}],
}
"""By model, what it has something to say to: the simulator opens by itself."""

ANSWERED = re.compile(r'^platolm_gateway_requests_total\{route="/v1/chat/completions",status="200"\} ([0-9.]+)$', re.M)
READ_METRICS = (
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8001/metrics', timeout=20).read().decode())"
)


def client(stack: ComposeStack, port: str, key: str) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{stack.url(port)}/v1", api_key=key, max_retries=0, timeout=60, http_client=http)


@pytest.fixture(scope="module")
def key(stack: ComposeStack) -> str:
    return stack.key()


@pytest.fixture
def simulator(stack: ComposeStack, key: str) -> Iterator[openai.OpenAI]:
    with client(stack, "SIMULATOR_PORT", key) as sdk:
        yield sdk


def test_nothing_but_the_named_ports_is_published(stack: ComposeStack) -> None:
    published = {one.service: one.published for one in stack.containers() if one.published}
    port = {name: int(value) for name, value in stack.settings.items() if name.endswith("_PORT")}
    assert published == {
        "api": {("127.0.0.1", port["API_PORT"])},
        "proxy": {("127.0.0.1", port["SIMULATOR_PORT"]), ("127.0.0.1", port["RESPONDENT_PORT"])},
    }


def test_engines_and_redis_have_no_way_out(stack: ComposeStack) -> None:
    """They stand on networks only that lead nowhere else."""
    for service in ("redis", "simulator", "respondent"):
        for container in stack.containers(service):
            networks = docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container.id)
            for name in re.findall(r'"NetworkID":"([0-9a-f]+)"', networks):
                assert docker("network", "inspect", "--format", "{{.Internal}}", name).strip() == "true"


def test_no_container_tells_the_key_to_who_may_inspect_it(stack: ComposeStack, key: str) -> None:
    assert len(key) >= 32
    containers = [one.id for one in stack.containers()]
    assert len(containers) >= 8
    assert key not in docker("inspect", *containers)


@pytest.mark.parametrize(("port", "model"), SIDES)
def test_the_sdk_talks_to_a_model(stack: ComposeStack, key: str, port: str, model: str) -> None:
    with client(stack, port, key) as sdk:
        assert [one.id for one in sdk.models.list()] == [model]
        answer = sdk.chat.completions.create(model=model, messages=TALKS[model], max_tokens=12)
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize(("port", "model"), SIDES)
def test_an_answer_comes_in_pieces(stack: ComposeStack, key: str, port: str, model: str) -> None:
    request: dict[str, Any] = {"model": model, "messages": TALKS[model], "max_tokens": 24}
    with client(stack, port, key) as sdk:
        chunks = list(sdk.chat.completions.create(**request, stream=True, extra_body={"ignore_eos": True}))
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) > 4


@pytest.mark.parametrize(("port", "model"), SIDES)
def test_without_the_key_nobody_answers(stack: ComposeStack, port: str, model: str) -> None:
    with client(stack, port, "another-key-of-some-length") as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            sdk.chat.completions.create(model=model, messages=TALKS[model])
        assert caught.value.status_code == 401
    with httpx.Client(base_url=stack.url(port), trust_env=False, timeout=30) as http:
        assert http.get("/v1/models").status_code == 401
        assert http.get("/healthz").status_code == 200
        assert http.get("/metrics").status_code in (403, 404)


def test_the_api_asks_for_the_key(stack: ComposeStack) -> None:
    with httpx.Client(base_url=stack.url("API_PORT"), trust_env=False, timeout=30) as http:
        assert http.get("/v1/runs").status_code == 401
        assert http.get("/readyz").status_code == 200
    with stack.api() as api:
        assert api.get("/v1/runs").status_code == 200


def answered(stack: ComposeStack) -> dict[str, int]:
    """Chat requests that each simulator's gateway has answered, by container."""
    texts = {one.id: in_container(one, "python", "-c", READ_METRICS) for one in stack.healthy("simulator")}
    found = {name: ANSWERED.search(text) for name, text in texts.items()}
    return {name: int(float(match[1])) if match else 0 for name, match in found.items()}


def ask(simulator: openai.OpenAI, session: str) -> None:
    simulator.chat.completions.create(
        model="socratic", messages=[], max_tokens=2, extra_headers={"X-Session-Id": session}
    )


def test_a_session_stays_with_its_replica(stack: ComposeStack, simulator: openai.OpenAI) -> None:
    before = answered(stack)
    assert len(before) == 2
    for _ in range(12):
        ask(simulator, "one-session")
    after = answered(stack)
    assert sorted(after[name] - before[name] for name in before) == [0, 12]


def test_sessions_are_spread_over_the_replicas(stack: ComposeStack, simulator: openai.OpenAI) -> None:
    before = answered(stack)
    for number in range(12):
        ask(simulator, f"session-{number}")
    after = answered(stack)
    counts = [after[name] - before[name] for name in before]
    assert sum(counts) == 12
    assert min(counts) >= 3


def test_a_session_goes_on_where_its_replica_is_gone(stack: ComposeStack, simulator: openai.OpenAI) -> None:
    before = answered(stack)
    ask(simulator, "orphan")
    after = answered(stack)
    (replica,) = [name for name in before if after[name] > before[name]]
    docker("kill", replica)
    try:
        wait_until(lambda: _answers(simulator, "orphan"), what="an answer of the other replica", timeout_s=60)
        assert len(answered(stack)) == 1
    finally:
        docker("start", replica)
        wait_until(lambda: len(stack.healthy("simulator")) == 2, what="two simulators", timeout_s=START_TIMEOUT_S)


def _answers(simulator: openai.OpenAI, session: str) -> bool:
    try:
        ask(simulator, session)
    except (openai.APIConnectionError, openai.InternalServerError):
        return False
    return True


def test_the_commands_container_is_gone_after_its_work(stack: ComposeStack) -> None:
    assert "runs" in stack.cli("runs", "list", "--json")
    left = docker("ps", "--all", "--quiet", "--filter", f"label={ONE_OFF_LABEL}=True", "--filter",
                  f"label=com.docker.compose.project={stack.project}")  # fmt: skip
    assert left == ""
