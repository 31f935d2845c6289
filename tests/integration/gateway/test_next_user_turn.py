"""The simulator's server as applications use it: the SDK, the documented examples, old clients; a scripted engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.agent_test_page import PAGE, documented
from tests.integration.gateway.scripted_engine import ScriptedEngine, gateway_before
from tests.unit.simulators.tokenizers import END_CONVERSATION, END_OF_TEXT, EOT, save_llama3_tokenizer

KEY = "b7c1e9d2a4f64f0e"
INTENT = "You want to know how moles dig."
MESSAGES: list[Any] = [
    {"role": "system", "content": INTENT},
    {"role": "user", "content": "what is a mole"},
    {"role": "assistant", "content": "An animal."},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    return load_tokenizer(save_llama3_tokenizer(tmp_path_factory.mktemp("llama3-tokenizer")))


@pytest.fixture(scope="module")
def shared_engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def engine(shared_engine: ScriptedEngine) -> ScriptedEngine:
    """As a test finds it: nothing scripted, nothing asked."""
    shared_engine.script.clear()
    shared_engine.asked.clear()
    return shared_engine


@pytest.fixture(scope="module")
def address(shared_engine: ScriptedEngine, tokenizer: HubTokenizer) -> Iterator[str]:
    settings: dict[str, Any] = {"profile": "userlm", "served_model_name": "socratic", "api_keys": KEY}
    with gateway_before(shared_engine, tokenizer, **settings) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=address + "/v1", api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def test_the_engine_is_asked_as_the_profile_says(client: openai.OpenAI, engine: ScriptedEngine) -> None:
    engine.says("how do moles dig")
    client.chat.completions.create(
        model="socratic", messages=MESSAGES, stop=["\n\n"], extra_body={"stop_token_ids": [7]}
    )
    [body] = engine.asked
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (1.0, 0.8, 256 - len(body["prompt"]))
    assert body["stop"] == ["\n\n", "<|endconversation|>"]
    assert body["stop_token_ids"] == [7, EOT, END_OF_TEXT, END_CONVERSATION]


def test_a_text_completion_gets_no_goodbyes(client: openai.OpenAI, engine: ScriptedEngine) -> None:
    client.completions.create(model="socratic", prompt="Moles dig", max_tokens=3)
    [body] = engine.asked
    assert body["stop_token_ids"] == [EOT, END_OF_TEXT]
    assert "stop" not in body


def test_a_goodbye_in_a_reply_and_in_a_stream(client: openai.OpenAI, engine: ScriptedEngine) -> None:
    engine.says("\nthanks ", "that is all", stop_reason=END_CONVERSATION)
    choice = client.chat.completions.create(model="socratic", messages=MESSAGES).choices[0]
    assert choice.message.content == "thanks that is all"
    assert choice.model_extra is not None
    assert choice.model_extra["platolm"] == {
        "ended": True, "why": "goodbye", "faults": {}, "goodbye_probability": None,
    }  # fmt: skip
    assert choice.model_extra["stop_reason"] == END_CONVERSATION
    engine.says("\nthanks ", "<|endcon", "versation|", ">more", finish_reason="length")
    chunks = list(client.chat.completions.create(model="socratic", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "thanks"
    assert (chunks[-1].choices[0].model_extra or {})["platolm"]["why"] == "goodbye"
    assert all("platolm" not in (chunk.choices[0].model_extra or {}) for chunk in chunks[:-1])


def test_a_fault_is_asked_for_again(client: openai.OpenAI, engine: ScriptedEngine) -> None:
    engine.says("I am here to help")
    engine.says("so how do they dig")
    reply = client.chat.completions.create(model="socratic", messages=MESSAGES, seed=3)
    assert reply.choices[0].message.content == "so how do they dig"
    assert (reply.choices[0].model_extra or {})["platolm"]["faults"] == {"role_slip": 1}
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 2
    assert [body["seed"] == 3 for body in engine.asked] == [True, False]


def test_refusals_say_what_to_do(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="has to be told its user's intent or goal") as refused:
        client.chat.completions.create(model="socratic", messages=[])
    assert refused.value.code == "nothing_told"
    with pytest.raises(openai.BadRequestError, match=r"told\.hobby") as refused:
        client.chat.completions.create(model="socratic", messages=[], extra_body={"told": {"hobby": "moles"}})
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="socratic", messages=[*MESSAGES[:2], {"role": "assistant", "content": "a " * 300}]
        )
    assert refused.value.code == "context_length_exceeded"


def post(address: str, body: Any, key: str = KEY) -> httpx.Response:
    return httpx.post(address + "/generate", json=body, headers={"Authorization": f"Bearer {key}"}, trust_env=False)


@pytest.fixture(scope="module")
def original(shared_engine: ScriptedEngine, tokenizer: HubTokenizer) -> Iterator[str]:
    with gateway_before(shared_engine, tokenizer, profile="socratic") as address:
        yield address


def session(address: str, answer: str) -> list[list[str]]:
    """One session of the original's client: it reads answers with `eval`, and `null` has no name there."""
    data: dict[str, Any] = {"history": None, "temperature": 0.7, "max_new_tokens": 512}
    said: list[list[str]] = []
    response = post(address, data)
    while True:
        try:
            history = eval(response.text).get("history")
        except NameError:
            return said
        said = [*history, ["Assistant", answer]]
        data["history"] = said
        response = post(address, data)


@pytest.mark.parametrize(
    "end", [{"pieces": ("bye", "<e>")}, {"pieces": (" \n",)}, {"pieces": ("What abo",), "finish_reason": "length"}]
)
def test_the_originals_client_runs_to_each_end(end: dict[str, Any], original: str, engine: ScriptedEngine) -> None:
    engine.says(" What is “null” 🍲? ")
    engine.says("And true?")
    engine.says(*end.pop("pieces"), **end)
    assert session(original, "Yes.") == [
        ["Human", "What is “null” 🍲?"],
        ["Assistant", "Yes."],
        ["Human", "And true?"],
        ["Assistant", "Yes."],
    ]
    assert [(body["temperature"], body["max_tokens"] <= 512) for body in engine.asked] == [(0.7, True)] * 3


def test_a_full_context_ends_the_originals_session(original: str, engine: ScriptedEngine) -> None:
    full = post(original, {"history": [["Human", "a"], ["Assistant", "so " * 400]]})
    assert (full.status_code, full.text, engine.asked) == (200, '{"hisotry":null}', [])


@pytest.mark.parametrize("history", [[["Human", "a"]], [["Robot", "a"]], [["Human"]], "Human", [["Human", None]]])
def test_other_histories_are_refused(history: Any, original: str) -> None:
    assert post(original, {"history": history}).status_code == 400


def test_generate_wants_the_key_and_is_counted(address: str, engine: ScriptedEngine) -> None:
    assert post(address, {"history": None}, key="wrong-key-12345").status_code == 401
    assert post(address, {"history": None}).json()["error"]["code"] == "nothing_told"
    metrics = httpx.get(address + "/metrics", trust_env=False).text
    assert 'platolm_gateway_requests_total{route="/generate",status="401"} 1.0' in metrics


def test_a_respondent_has_no_generate(tokenizer: HubTokenizer) -> None:
    with gateway_before(ScriptedEngine(), tokenizer, profile="platolm") as address:
        assert post(address, {"history": None}).status_code == 404
        assert "/generate" not in httpx.get(address + "/openapi.json", trust_env=False).json()["paths"]


def test_the_served_openapi_has_the_typed_end(address: str) -> None:
    served = httpx.get(address + "/openapi.json", trust_env=False).json()
    schemas = served["components"]["schemas"]
    assert set(schemas["Why"]["enum"]) == {"goodbye", "blank", "context_full", "role_slip", "reasoning_leak"}
    assert schemas["ChatChoice"]["properties"]["platolm"] == {"$ref": "#/components/schemas/Ending"}
    asked = served["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(asked["properties"]["told"]["properties"]) == {"intent", "persona", "profile", "goal", "instruction"}
    assert set(asked["properties"]["platolm"]["properties"]) == {"min_turns", "goodbye_probability"}
    assert "goodbye_probability" in schemas["Ending"]["properties"]
    assert "$defs" not in str(asked)
    for why in schemas["Why"]["enum"]:
        assert f"`{why}`" in PAGE


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return documented(monkeypatch)


def test_the_documented_loop(client: openai.OpenAI, engine: ScriptedEngine, module: dict[str, Any]) -> None:
    engine.says("what do moles eat")
    engine.says("thank you so much", stop_reason=END_CONVERSATION)
    messages, why = module["talk"](client, INTENT, lambda messages: "Worms.")
    assert why == "goodbye"
    assert messages == [
        {"role": "user", "content": "what do moles eat"},
        {"role": "assistant", "content": "Worms."},
        {"role": "user", "content": "thank you so much"},
    ]
    engine.says("what do moles eat")
    messages, why = module["talk"](client, INTENT, lambda messages: "Worms. " * 200)
    assert ([message["role"] for message in messages], why) == (["user", "assistant"], "context_full")


def test_the_documented_hook_of_a_framework(
    client: openai.OpenAI, engine: ScriptedEngine, module: dict[str, Any]
) -> None:
    engine.says("what do moles eat")
    engine.says("\n", stop_reason=END_CONVERSATION)
    said: list[str] = []

    def app(message: dict[str, Any], *, thread_id: str) -> dict[str, Any]:
        said.append(message["content"])
        return {"role": "assistant", "content": "Worms."}

    result = module["simulate"](client, INTENT, app, max_turns=5, thread_id="moles")
    assert said == ["what do moles eat", "(leaves)"]
    assert [message["role"] for message in result["trajectory"]] == ["user", "assistant"] * 2
    assert len(engine.asked) == 2
