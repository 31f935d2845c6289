from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.errors import TokenizerError
from platolm.respondents import RESPONDENTS
from platolm.simulators import PROFILES, Told
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.guardrails import Fault
from platolm.simulators.told import NOTHING_TOLD
from platolm.tokenizer import HubTokenizer
from services.gateway.errors import RequestError
from services.gateway.settings import GatewaySettings
from services.gateway.sides import Asked, side_of, warn_of_another_format
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.unit.simulators.tokenizers import END_CONVERSATION, END_OF_TEXT, EOT

INTENT = "You want to know how moles dig."
TALK = [Message(SYSTEM, INTENT), Message(USER, "what is a mole"), Message(ASSISTANT, "An animal.")]


@pytest.mark.parametrize(
    ("model", "profile", "name"),
    [
        ("org/UserLM-8b", None, "userlm"),
        ("/models/usp-8b/", None, "usp"),
        ("runs/socratic", None, "socratic"),
        ("org/Qwen3-8B", None, "socratic"),
        ("org/Qwen3-8B", "roleplay", "roleplay"),
        ("org/UserLM-8b", "socratic-newline", "socratic-newline"),
        (None, None, "socratic"),
    ],
)
def test_a_simulators_profile_is_named_or_known_by_its_model(model: str | None, profile: str | None, name: str) -> None:
    assert SimulatorSettings(model=model, profile=profile).profile_name == name


def test_a_server_takes_its_own_sides_profiles_only() -> None:
    assert RespondentSettings(model="org/UserLM-8b").profile_name == "platolm"
    assert RespondentSettings(model="m", profile="chat").profile_name == "chat"
    with pytest.raises(ValidationError, match="no profile 'platolm' here: choose one of socratic, "):
        SimulatorSettings(model="m", profile="platolm")
    with pytest.raises(ValidationError, match="no profile 'userlm' here: choose one of platolm, chat"):
        RespondentSettings(model="m", profile="userlm")


def test_a_simulator_is_prompted_as_its_profile_says(llama3: HubTokenizer) -> None:
    side = side_of(GatewaySettings(profile="userlm"), llama3)
    asked = side.read(TALK, NOTHING_TOLD)
    told = Told(system_prompt=INTENT)
    assert asked == Asked(PROFILES["userlm"].prompts(llama3).ids(TALK[1:], told), tuple(TALK[1:]), told)
    assert (side.speaker, side.stop_ids) == (USER, (EOT, END_OF_TEXT, END_CONVERSATION))
    assert (side.turn_end_ids, side.stop_strings) == ((EOT, END_OF_TEXT), ("<|endconversation|>",))
    assert side.marker_of(END_CONVERSATION) == side.marker_of("<|endconversation|>") == "<|endconversation|>"
    assert side.goodbyes == ("<|endconversation|>",)
    assert side.marker_of(EOT) is side.marker_of(None) is side.marker_of("mole") is None


def test_what_is_told_joins_the_system_message(llama3: HubTokenizer) -> None:
    side = side_of(GatewaySettings(profile="roleplay"), llama3)
    instruction = Told(persona="A gardener.", instruction="You are {persona} {system_prompt}")
    said = Told(system_prompt=INTENT, persona="A gardener.", instruction=instruction.instruction)
    assert side.read(TALK, instruction).ids == PROFILES["roleplay"].prompts(llama3).ids(TALK[1:], said)
    assert side.read(TALK, instruction).ids != side.read(TALK, NOTHING_TOLD).ids
    with pytest.raises(RequestError, match=r"\{hobby\} is not a field") as refused:
        side.read(TALK, Told(instruction="You like {hobby}."))
    assert (refused.value.status, refused.value.param) == (400, "told")


def test_a_simulator_that_is_told_nothing_says_what_it_needs(llama3: HubTokenizer) -> None:
    side = side_of(GatewaySettings(profile="userlm"), llama3)
    with pytest.raises(RequestError, match="has to be told its user's intent or goal") as refused:
        side.read([], NOTHING_TOLD)
    assert (refused.value.status, refused.value.code) == (400, "nothing_told")
    assert side.read([], Told(goal="Learn of moles.")).ids


def test_a_tokenizer_without_the_profiles_tokens_is_refused(demo: HubTokenizer) -> None:
    with pytest.raises(TokenizerError, match="start_header_id"):
        side_of(GatewaySettings(profile="userlm"), demo)


def test_the_intent_counts_as_told_also_in_a_system_message(llama3: HubTokenizer) -> None:
    side = side_of(GatewaySettings(profile="userlm"), llama3)
    asked = side.read(TALK, NOTHING_TOLD)
    assert side.fault_of(Cleaned(INTENT), asked) is Fault.FIRST_TOKEN
    assert side.fault_of(Cleaned("please: " + INTENT), asked) is Fault.REPEATED
    assert side.fault_of(Cleaned("do they dig with their paws"), asked) is None
    assert side.fault_of(Cleaned("", End.MARKER), side.read(TALK[:1], NOTHING_TOLD)) is Fault.EARLY_END


def test_a_goodbye_of_several_tokens_is_no_token(llama3: HubTokenizer) -> None:
    side = side_of(GatewaySettings(profile="roleplay"), llama3)
    assert (side.goodbyes, side.stop_strings, side.marker_of("<end>")) == ((), ("<end>",), "<end>")


@pytest.mark.parametrize(
    ("profile", "given", "expected"),
    [
        ("socratic", {}, {"temperature": 0.7, "top_p": 1.0}),
        ("userlm", {}, {"temperature": 1.0, "top_p": 0.8}),
        ("userlm", {"temperature": 0.5}, {"temperature": 0.5, "top_p": 0.8}),
        ("usp", {}, {"temperature": 0.7, "top_p": 1.0, "repetition_penalty": 1.2}),
        ("osim", {}, {}),
        ("roleplay", {"top_p": 0.9}, {"top_p": 0.9}),
        ("platolm", {}, {"temperature": 0.7, "top_p": 1.0}),
    ],
)
def test_sampling_where_a_request_names_none(
    profile: str, given: dict[str, Any], expected: dict[str, float], llama3: HubTokenizer
) -> None:
    assert side_of(GatewaySettings(profile=profile, **given), llama3).default_sampling == expected


def test_a_setting_of_the_environment_is_the_operators(llama3: HubTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOLM_SIMULATOR_TEMPERATURE", "0.7")
    side = side_of(SimulatorSettings(model="org/UserLM-8b"), llama3)
    assert side.default_sampling == {"temperature": 0.7, "top_p": 0.8}


def test_any_chat_model_answers_in_its_own_format(llama3: HubTokenizer) -> None:
    side = side_of(RespondentSettings(model="m", profile="chat"), llama3)
    talk = [*TALK, Message(USER, "and blind?")]
    asked = side.read([Message(SYSTEM, "Be brief."), *talk], NOTHING_TOLD)
    told = Told(system_prompt=f"Be brief.\n\n{INTENT}")
    assert asked.ids == RESPONDENTS["chat"].prompts(llama3).ids(talk[1:], told)
    assert llama3.decode(asked.ids).endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert (side.speaker, side.profile_name) == (ASSISTANT, "chat")
    assert side.stop_ids == side.turn_end_ids == (EOT, END_OF_TEXT)
    assert (side.stop_strings, side.goodbyes, side.marker_of(EOT)) == ((), (), None)


def test_a_chat_model_is_sampled_as_it_wants_unless_the_operator_says_otherwise(llama3: HubTokenizer) -> None:
    assert side_of(RespondentSettings(model="m", profile="chat"), llama3).default_sampling == {}
    set_by_operator = RespondentSettings(model="m", profile="chat", temperature=0.2)
    assert side_of(set_by_operator, llama3).default_sampling == {"temperature": 0.2}
    assert side_of(RespondentSettings(model="m"), llama3).default_sampling == {"temperature": 0.7, "top_p": 1.0}


def test_a_tokenizer_without_a_chat_format_cannot_be_prompted_in_one(tokenizer: HubTokenizer) -> None:
    with pytest.raises(TokenizerError, match="no control tokens of a chat format"):
        side_of(RespondentSettings(model="m", profile="chat"), tokenizer)


@pytest.mark.parametrize(
    ("model", "profile", "is_warned"),
    [("org/Qwen3-8B", "platolm", True), ("org/Qwen3-8B", "chat", False), ("runs/PlatoLM-8b", "platolm", False)],
)
def test_a_chat_model_prompted_as_platolm_is_told_of(
    model: str, profile: str, is_warned: bool, llama3: HubTokenizer
) -> None:
    with structlog.testing.capture_logs() as logs:
        warn_of_another_format(RespondentSettings(model=model, profile=profile), llama3)
    assert [log["event"] for log in logs] == ["chat_model_prompted_as_platolm"] * is_warned


def test_a_tokenizer_of_no_chat_format_is_not_told_of(tokenizer: HubTokenizer) -> None:
    with structlog.testing.capture_logs() as logs:
        warn_of_another_format(RespondentSettings(model="org/base"), tokenizer)
    assert not logs
