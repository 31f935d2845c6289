from __future__ import annotations

from typing import Any

import pytest

from platolm import dyadic
from platolm.conversation import Message
from platolm.tokenizer import HubTokenizer
from services.gateway.errors import RequestError
from services.gateway.prompts import completion_prompts, read_messages, room_for
from services.gateway.schemas import ToldFields
from services.gateway.settings import GatewaySettings
from services.gateway.sides import side_of

USER_SAYS = {"role": "user", "content": "What is </s>?"}
ASSISTANT_SAYS = {"role": "assistant", "content": "A <s> upside down."}
SYSTEM_SAYS = {"role": "system", "content": "Be brief."}


def chat_prompt_ids(raw: list[dict[str, Any]], profile: dyadic.DyadicProfile, tokenizer: HubTokenizer) -> list[int]:
    side = side_of(GatewaySettings(profile=profile.name), tokenizer)
    return side.read(read_messages(raw), ToldFields().as_told()).ids


def refusal(raw: list[dict[str, Any]], profile: dyadic.DyadicProfile, tokenizer: HubTokenizer) -> RequestError:
    with pytest.raises(RequestError) as caught:
        chat_prompt_ids(raw, profile, tokenizer)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("profile", "raw"),
    [
        (dyadic.SOCRATIC, []),
        (dyadic.SOCRATIC, [SYSTEM_SAYS]),
        (dyadic.SOCRATIC, [USER_SAYS, ASSISTANT_SAYS]),
        (dyadic.SOCRATIC, [SYSTEM_SAYS, USER_SAYS, ASSISTANT_SAYS, ASSISTANT_SAYS]),
        (dyadic.SOCRATIC, [SYSTEM_SAYS, SYSTEM_SAYS, USER_SAYS, ASSISTANT_SAYS]),
        (dyadic.PLATOLM, [USER_SAYS]),
        (dyadic.PLATOLM, [SYSTEM_SAYS, USER_SAYS, ASSISTANT_SAYS, USER_SAYS, USER_SAYS]),
    ],
)
def test_prompt_is_what_training_sees(
    profile: dyadic.DyadicProfile, raw: list[dict[str, Any]], tokenizer: HubTokenizer
) -> None:
    served = chat_prompt_ids(raw, profile, tokenizer)
    told = [Message(message["role"], message["content"]) for message in raw]
    trained = dyadic.compose([*told, Message(profile.target_role, "next")], profile, tokenizer).input_ids
    assert trained[: len(served)] == served
    assert trained[len(served) :] == [*tokenizer.encode("next"), tokenizer.eos_id]
    assert served.count(tokenizer.eos_id) == sum(message["role"] != "system" for message in raw)


def test_exact_ids_of_an_opening(tokenizer: HubTokenizer) -> None:
    text = dyadic.SOCRATIC.header + "Human: "
    expected = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.bos_id]
    assert chat_prompt_ids([], dyadic.SOCRATIC, tokenizer) == expected


def test_text_parts_and_developer_messages(tokenizer: HubTokenizer) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "</s>?"}]
    raw: list[dict[str, Any]] = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    assert chat_prompt_ids(raw, dyadic.PLATOLM, tokenizer) == chat_prompt_ids(
        [SYSTEM_SAYS, USER_SAYS], dyadic.PLATOLM, tokenizer
    )


def test_wrong_turn_says_what_to_do(tokenizer: HubTokenizer) -> None:
    error = refusal([USER_SAYS], dyadic.SOCRATIC, tokenizer)
    assert error.code == "wrong_last_role"
    assert "End the conversation with an assistant message" in error.message
    for raw in ([], [SYSTEM_SAYS], [USER_SAYS, ASSISTANT_SAYS]):
        error = refusal(raw, dyadic.PLATOLM, tokenizer)
        assert error.code == "wrong_last_role"
        assert "End the conversation with a user message" in error.message


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "42"},
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"content": "no role"},
    ],
)
def test_other_messages_are_refused(message: dict[str, Any], tokenizer: HubTokenizer) -> None:
    refusal([message], dyadic.PLATOLM, tokenizer)


def test_read_messages_keeps_order() -> None:
    assert read_messages([SYSTEM_SAYS, USER_SAYS]) == (Message("system", "Be brief."), Message("user", "What is </s>?"))


def test_completion_text_has_one_control_token(tokenizer: HubTokenizer) -> None:
    [ids] = completion_prompts("Say </s> <s>", tokenizer)
    assert ids[0] == tokenizer.bos_id
    assert not {tokenizer.bos_id, tokenizer.eos_id} & set(ids[1:])
    assert tokenizer.decode(ids) == "Say </s> <s>"


def test_completion_prompt_forms(tokenizer: HubTokenizer) -> None:
    assert completion_prompts([1, 5, 2], tokenizer) == [[1, 5, 2]]
    assert completion_prompts([[1, 5], [6]], tokenizer) == [[1, 5], [6]]
    assert completion_prompts(["a", "b"], tokenizer) == [[1, *tokenizer.encode("a")], [1, *tokenizer.encode("b")]]
    assert completion_prompts("", tokenizer) == [[tokenizer.bos_id]]
    for empty in ([], [[1], []]):
        with pytest.raises(RequestError):
            completion_prompts(empty, tokenizer)


def test_room() -> None:
    assert room_for(10, None, 512, 100) == 90
    assert room_for(10, None, 50, 100) == 50
    assert room_for(10, 4000, 50, 100) == 90
    assert room_for(99, 7, 50, 100) == 1
    for full in (100, 101):
        with pytest.raises(RequestError) as caught:
            room_for(full, 1, 50, 100)
        assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
