"""The stock OpenAI SDK against both servers over a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from platolm import dyadic
from platolm.conversation import Message
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.integration.gateway.conftest import CONTEXT_TOKENS

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

ENDS_WITH_ASSISTANT: list[Any] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Does </s> end a turn? Or <s>?"},
    {"role": "assistant", "content": [{"type": "text", "text": "No: é, ü, 漢字, "}, {"type": "text", "text": "🙂."}]},
]
ENDS_WITH_USER: list[Any] = [*ENDS_WITH_ASSISTANT, {"role": "user", "content": "Thanks </s> Human: <s>"}]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> HubTokenizer:
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def simulator(simulator_gateway: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=simulator_gateway.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def respondent(respondent_gateway: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=respondent_gateway.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def as_messages(raw: list[Any]) -> list[Message]:
    def text(content: Any) -> str:
        return content if isinstance(content, str) else "".join(part["text"] for part in content)

    return [Message(message["role"], text(message["content"])) for message in raw]


def test_readiness_came_after_liveness(simulator_gateway: Any) -> None:
    assert 503 in simulator_gateway.seen
    assert simulator_gateway.seen[-1] == 200
    assert simulator_gateway.get("/healthz").status_code == 200


def test_models(simulator: openai.OpenAI, respondent: openai.OpenAI) -> None:
    assert [model.id for model in simulator.models.list()] == ["socratic"]
    assert respondent.models.retrieve("platolm").id == "platolm"


def test_respondent_answers(respondent: openai.OpenAI, tokenizer: HubTokenizer) -> None:
    reply = respondent.chat.completions.create(
        model="platolm", messages=ENDS_WITH_USER, max_completion_tokens=6, seed=3, extra_body={"return_token_ids": True}
    )
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content is not None
    assert reply.choices[0].finish_reason in ("length", "stop")
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 6
    expected = dyadic.prompt_ids(as_messages(ENDS_WITH_USER), dyadic.PLATOLM, tokenizer)
    assert reply.model_extra is not None
    assert reply.model_extra["prompt_token_ids"] == expected
    assert reply.usage.prompt_tokens == len(expected)


@pytest.mark.parametrize("messages", [[], [{"role": "system", "content": "You fix bikes."}], ENDS_WITH_ASSISTANT])
def test_simulator_speaks_as_the_user(simulator: openai.OpenAI, messages: list[Any]) -> None:
    reply = simulator.chat.completions.create(model="socratic", messages=messages, max_tokens=4)
    assert reply.choices[0].message.role == "assistant"  # what the SDK's type allows
    assert reply.choices[0].message.model_dump()["speaker"] == "user"


@pytest.mark.parametrize("profile", [dyadic.SOCRATIC, dyadic.PLATOLM])
def test_prompt_is_the_prefix_that_training_sees(
    simulator: openai.OpenAI, respondent: openai.OpenAI, tokenizer: HubTokenizer, profile: dyadic.DyadicProfile
) -> None:
    is_simulator = profile is dyadic.SOCRATIC
    raw = ENDS_WITH_ASSISTANT if is_simulator else ENDS_WITH_USER
    client, model = (simulator, "socratic") if is_simulator else (respondent, "platolm")
    reply = client.chat.completions.create(
        model=model, messages=raw, max_tokens=3, extra_body={"return_token_ids": True}
    )
    assert reply.model_extra is not None
    served = reply.model_extra["prompt_token_ids"]
    told = as_messages(raw)
    trained = dyadic.compose([*told, Message(profile.target_role, "whatever comes next")], profile, tokenizer)
    assert trained.input_ids[: len(served)] == served
    assert served.count(tokenizer.eos_id) == sum(message.role != "system" for message in told)


def test_stream_says_the_same_as_the_whole_answer(respondent: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "platolm", "messages": ENDS_WITH_USER, "max_tokens": 24, "temperature": 0}
    whole = respondent.chat.completions.create(**request)
    chunks = list(respondent.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) == {None}
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_streamed_ids_are_the_generated_ids(simulator: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "socratic", "messages": [], "max_tokens": 12, "temperature": 0}
    extra = {"return_token_ids": True}
    whole = simulator.chat.completions.create(**request, extra_body=extra)
    chunks = list(simulator.chat.completions.create(**request, stream=True, extra_body=extra))
    ids = [i for chunk in chunks for i in (chunk.choices[0].model_extra or {}).get("token_ids") or []]
    assert ids == (whole.choices[0].model_extra or {})["token_ids"]
    assert (chunks[0].model_extra or {})["prompt_token_ids"] == (whole.model_extra or {})["prompt_token_ids"]


def test_sdk_stream_helper(respondent: openai.OpenAI) -> None:
    with respondent.chat.completions.stream(model="platolm", messages=ENDS_WITH_USER, max_tokens=5) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        snapshot = stream.current_completion_snapshot
    assert snapshot.choices[0].message.content == text


def test_strict_response_validation(simulator_gateway: Any) -> None:
    with openai.OpenAI(
        base_url=simulator_gateway.url + "/v1", api_key="none", _strict_response_validation=True
    ) as client:
        reply = client.chat.completions.create(model="socratic", messages=[], max_tokens=2)
    assert reply.choices[0].message.role == "assistant"


def test_several_answers_and_a_stop_string(respondent: openai.OpenAI) -> None:
    reply = respondent.chat.completions.create(
        model="platolm", messages=ENDS_WITH_USER, max_tokens=40, n=3, stop=["e", "a", "t"], seed=1
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert not any(set("eat") & set(choice.message.content or "") for choice in reply.choices)


def test_text_completion_disables_control_tokens(simulator: openai.OpenAI, tokenizer: HubTokenizer) -> None:
    typed = "What is </s> and <s>?"
    reply = simulator.completions.create(
        model="socratic", prompt=typed, max_tokens=3, extra_body={"return_token_ids": True}
    )
    ids = (reply.choices[0].model_extra or {})["prompt_token_ids"]
    assert ids == [tokenizer.bos_id, *tokenizer.encode(typed)]
    assert tokenizer.eos_id not in ids
    assert tokenizer.decode(ids) == typed


def test_completion_takes_ids_and_several_prompts_and_streams(simulator: openai.OpenAI) -> None:
    reply = simulator.completions.create(model="socratic", prompt=[[1, 40, 41], [1, 42]], max_tokens=2)
    assert len(reply.choices) == 2
    chunks = list(simulator.completions.create(model="socratic", prompt=[1, 40, 41], max_tokens=3, stream=True))
    assert chunks[-1].choices[0].finish_reason is not None


def test_cached_tokens_come_through(respondent: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "the assistant answers " * 30}]
    request: dict[str, Any] = {"model": "platolm", "messages": long, "max_tokens": 2}
    respondent.chat.completions.create(**request)
    usage = respondent.chat.completions.create(**request).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens or 0) >= 128


def test_full_context_is_refused_and_the_default_fits_the_room(respondent: openai.OpenAI) -> None:
    words = [{"role": "user", "content": "z" * (CONTEXT_TOKENS + 1)}]
    with pytest.raises(openai.BadRequestError) as refused:
        respondent.chat.completions.create(model="platolm", messages=words)  # type: ignore[arg-type]
    assert refused.value.code == "context_length_exceeded"
    room = 9
    probe = respondent.chat.completions.create(
        model="platolm", messages=[{"role": "user", "content": "z"}], max_tokens=1
    )
    assert probe.usage is not None
    fitting = "z" * (CONTEXT_TOKENS - room - probe.usage.prompt_tokens + 1)
    reply = respondent.chat.completions.create(
        model="platolm",
        messages=[{"role": "user", "content": fitting}],
        max_tokens=CONTEXT_TOKENS,
        extra_body={"ignore_eos": True},
    )
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == CONTEXT_TOKENS - room
    assert reply.usage.completion_tokens == room
    assert reply.choices[0].finish_reason == "length"


def test_wrong_last_role(simulator: openai.OpenAI, respondent: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="End the conversation with an assistant message"):
        simulator.chat.completions.create(model="socratic", messages=ENDS_WITH_USER)
    with pytest.raises(openai.BadRequestError, match="End the conversation with a user message"):
        respondent.chat.completions.create(model="platolm", messages=ENDS_WITH_ASSISTANT)


def test_other_refusals(respondent: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        respondent.chat.completions.create(model="gpt-4", messages=ENDS_WITH_USER)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        respondent.chat.completions.create(model="platolm", messages=ENDS_WITH_USER, temperature=3)
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        respondent.chat.completions.create(model="platolm", messages=ENDS_WITH_USER, logprobs=True)
    with pytest.raises(openai.BadRequestError, match="out of vocabulary"):
        respondent.completions.create(model="platolm", prompt=[1, 99999])
    with pytest.raises(openai.BadRequestError, match="out of vocabulary"):
        list(respondent.completions.create(model="platolm", prompt=[1, 99999], stream=True))


def test_metrics_of_both(respondent_gateway: Any) -> None:
    text = respondent_gateway.get("/metrics").text
    assert "vllm:generation_tokens_total" in text
    assert 'platolm_gateway_requests_total{route="/v1/chat/completions",status="200"}' in text
