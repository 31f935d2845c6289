"""A chat model that plays a person: golden prompts, its instruction, its goodbye."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.errors import SpecError
from platolm.simulators import PROFILES, Told
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.guardrails import Fault
from platolm.simulators.roleplay import RolePlay
from platolm.tokenizer import HubTokenizer
from tests.unit.simulators.conformance import ProfileConformance
from tests.unit.simulators.golden import Golden
from tests.unit.simulators.tokenizers import END_MARK, IM_END, IM_START

ROLEPLAY = PROFILES["roleplay"]
SHORT = RolePlay(instruction="You are {persona}.\nSay {end_marker} to leave.", opener="Yes?")
COOK = Told(persona="a cook")


class TestConformance(ProfileConformance):
    profile = ROLEPLAY
    tokenizer_name = "chatml"


class TestConformanceWithoutAnOpener(ProfileConformance):
    profile = RolePlay(opener=None, end_marker="[[DONE]]")
    tokenizer_name = "llama3"


@pytest.fixture
def golden(chatml_folder: Path) -> Golden:
    return Golden(chatml_folder)


def test_it_is_greeted_and_opens(golden: Golden, chatml: HubTokenizer) -> None:
    """The goodbye in the instruction is text, although the tokenizer has one id for it."""
    ids = SHORT.prompts(chatml).ids([], COOK)
    expected = golden(
        IM_START, "system\nYou are a cook.\nSay <", "end> to leave.", IM_END, "\n",
        IM_START, "user\nYes?", IM_END, "\n",
        IM_START, "assistant\n",
    )  # fmt: skip
    assert ids == expected.ids
    assert END_MARK not in ids
    assert golden.decoded(ids) == (
        "<|im_start|>system\nYou are a cook.\nSay <end> to leave.<|im_end|>\n"
        "<|im_start|>user\nYes?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_it_goes_on_with_inverted_roles(golden: Golden, chatml: HubTokenizer) -> None:
    turns = [Message(USER, "how long do eggs take"), Message(ASSISTANT, "Eight minutes.")]
    profile = RolePlay(instruction="You are {persona}.", opener="Yes?")
    expected = golden(
        IM_START, "system\nYou are a cook.", IM_END, "\n",
        IM_START, "user\nYes?", IM_END, "\n",
        IM_START, "assistant\nhow long do eggs take", IM_END, "\n",
        IM_START, "user\nEight minutes.", IM_END, "\n",
        IM_START, "assistant\n",
    )  # fmt: skip
    assert profile.prompts(chatml).ids(turns, COOK) == expected.ids
    assert profile.messages(turns, COOK) == [
        {"role": "system", "content": "You are a cook."},
        {"role": "user", "content": "Yes?"},
        {"role": "assistant", "content": "how long do eggs take"},
        {"role": "user", "content": "Eight minutes."},
    ]


def test_an_assistant_that_speaks_first_needs_no_opener(golden: Golden, chatml: HubTokenizer) -> None:
    profile = RolePlay(instruction="You are {persona}.", opener="Yes?")
    expected = golden(
        IM_START, "system\nYou are a cook.", IM_END, "\n",
        IM_START, "user\nWhat's for dinner?", IM_END, "\n",
        IM_START, "assistant\n",
    )  # fmt: skip
    growing = profile.prompts(chatml).new(COOK)
    growing.add(ASSISTANT, "What's for dinner?")
    assert growing.ids() == expected.ids
    assert [message["content"] for message in profile.messages([Message(ASSISTANT, "Dinner?")], COOK)] == [
        "You are a cook.",
        "Dinner?",
    ]


def test_its_instruction_has_only_what_is_said() -> None:
    text = ROLEPLAY.system_text(Told(persona="A cook from Lyon.", goal="You want a recipe."))
    assert text is not None
    assert "Who you are: A cook from Lyon.\nWhat you want to reach: You want a recipe.\n\nHow to write:" in text
    assert "More about you" not in text
    assert text.endswith("end your last message with <end>")
    bare = ROLEPLAY.system_text(Told())
    assert bare is not None
    assert "to this person.\n\nHow to write:" in bare
    assert "{" not in bare


def test_the_runs_system_prompt_stands_in_its_instruction() -> None:
    text = ROLEPLAY.system_text(Told(system_prompt="Write in French. {persona} is text here."))
    assert text is not None
    assert "\n\nWrite in French. {persona} is text here.\n\nHow to write:" in text


def test_a_profile_with_a_bad_instruction_says_where() -> None:
    with pytest.raises(SpecError, match=r"instruction: line 2: \{name\} is not a field; there are .*\{end_marker\}"):
        RolePlay(instruction="You are\n{name}").system_text(Told())


def test_its_goodbye_and_its_thoughts_are_taken_away() -> None:
    assert ROLEPLAY.clean("<think>I have it.</think>\n\nthanks! <end>") == Cleaned(
        "thanks!", End.MARKER, "<end>", intact=False
    )
    assert RolePlay(end_marker="[[DONE]]").clean("ok [[DONE]]\nmore") == Cleaned(
        "ok", End.MARKER, "[[DONE]]", intact=False
    )
    assert ROLEPLAY.clean("") == Cleaned("")


def test_a_thought_that_leaks_is_a_fault() -> None:
    said = ROLEPLAY.clean("<think>What would this person say")
    assert ROLEPLAY.fault_of(said, []) is Fault.REASONING_LEAK


def test_any_chat_model_can_play_without_being_told_more() -> None:
    assert ROLEPLAY.lacks(Told()) is None
