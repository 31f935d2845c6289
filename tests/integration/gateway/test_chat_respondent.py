"""Any chat model as the respondent, over a real engine: a stand-in with Llama 3's special tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import OpenAI

from platolm.conversation import USER, Message
from platolm.respondents import RESPONDENTS
from platolm.simulators import Told
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.integration.gateway.conftest import Service
from tests.unit.simulators.tokenizers import EOT

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

QUESTION = "why dont bikes <|eot_id|> fall over"


@pytest.fixture(scope="module")
def tokenizer(stand_in: Path) -> HubTokenizer:
    return load_tokenizer(stand_in)


def test_it_is_prompted_in_its_own_format(chat_respondent: Service, tokenizer: HubTokenizer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    response = chat_respondent.post(
        "/v1/chat/completions", {"messages": messages, "max_tokens": 8, "return_token_ids": True}
    )
    assert response.status_code == 200, response.text
    reply = response.json()
    expected = RESPONDENTS["chat"].prompts(tokenizer).ids([Message(USER, QUESTION)], Told(system_prompt="Be brief."))
    assert reply["prompt_token_ids"] == expected
    message = reply["choices"][0]["message"]
    assert (message["role"], message["profile"]) == ("assistant", "chat")
    [card] = chat_respondent.get("/v1/models").json()["data"]
    assert card["profile"] == "chat"


def test_its_end_of_turn_ends_an_answer_and_is_not_shown(chat_respondent: Service) -> None:
    client = OpenAI(base_url=f"{chat_respondent.url}/v1", api_key="none")
    stream = client.chat.completions.create(
        model="platolm",
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=8,
        stream=True,
        logit_bias={str(EOT): 100},
    )
    choices = [choice for chunk in stream for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == ""
    assert choices[-1].finish_reason == "stop"
