"""OSim: golden prompts with inverted roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.errors import TokenizerError
from platolm.sampling import Sampling
from platolm.simulators import PROFILES, Told
from platolm.tokenizer import HubTokenizer
from tests.unit.simulators.conformance import ProfileConformance
from tests.unit.simulators.golden import Golden
from tests.unit.simulators.tokenizers import BEGIN_OF_TEXT, END_HEADER, EOT, IM_END, IM_START, START_HEADER

OSIM = PROFILES["osim"]
STUDENT = Told(persona="You are a student.", goal="You want to understand fractions.")
TURNS = [Message(USER, "what is a half"), Message(ASSISTANT, "<think>Easy.</think>\nOne of two equal parts.")]


class TestConformance(ProfileConformance):
    profile = OSIM
    tokenizer_name = "chatml"


class TestConformanceInLlamasFormat(ProfileConformance):
    profile = OSIM
    tokenizer_name = "llama3"


@pytest.fixture
def golden(chatml_folder: Path) -> Golden:
    return Golden(chatml_folder)


def test_it_opens_as_the_assistant(golden: Golden, chatml: HubTokenizer) -> None:
    expected = golden(
        IM_START, "system\nYou are a student.\n\nYou want to understand fractions.", IM_END, "\n",
        IM_START, "assistant\n",
    )  # fmt: skip
    ids = OSIM.prompts(chatml).ids([], STUDENT)
    assert ids == expected.ids
    assert golden.decoded(ids) == (
        "<|im_start|>system\nYou are a student.\n\nYou want to understand fractions.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_user_is_the_assistant(golden: Golden, chatml: HubTokenizer) -> None:
    expected = golden(
        IM_START, "assistant\nwhat is a half", IM_END, "\n",
        IM_START, "user\nOne of two equal parts.", IM_END, "\n",
        IM_START, "assistant\n",
    )  # fmt: skip
    assert OSIM.prompts(chatml).ids(TURNS, Told()) == expected.ids


def test_what_it_generated_follows_its_prompt(golden: Golden, chatml: HubTokenizer) -> None:
    said = chatml.encode("what") + chatml.encode(" is") + chatml.encode(" a half")
    expected = golden(
        IM_START, "assistant\n", said, IM_END, "\n",
        IM_START, "user\nOne of two.", IM_END, "\n",
        IM_START, "assistant\n",
    )  # fmt: skip
    growing = OSIM.prompts(chatml).new(Told())
    where = growing.add(USER, "what is a half", said)
    growing.add(ASSISTANT, "One of two.")
    assert growing.ids() == expected.ids
    assert growing.content_ids(where) == said


def test_the_format_is_its_tokenizers(llama3_folder: Path, llama3: HubTokenizer) -> None:
    expected = Golden(llama3_folder)(
        BEGIN_OF_TEXT,
        START_HEADER, "assistant", END_HEADER, "\n\nwhat is a half", EOT,
        START_HEADER, "user", END_HEADER, "\n\nOne of two equal parts.", EOT,
        START_HEADER, "assistant", END_HEADER, "\n\n",
    )  # fmt: skip
    assert OSIM.prompts(llama3).ids(TURNS, Told()) == expected.ids


def test_messages_have_inverted_roles() -> None:
    assert OSIM.messages(TURNS, STUDENT) == [
        {"role": "system", "content": "You are a student.\n\nYou want to understand fractions."},
        {"role": "assistant", "content": "what is a half"},
        {"role": "user", "content": "One of two equal parts."},
    ]


def test_sampling_is_the_models_own() -> None:
    assert OSIM.sampling(Sampling()).said() == {"max_tokens": 512}
    assert OSIM.sampling(Sampling(top_p=0.9, max_tokens=5)).said() == {"top_p": 0.9, "max_tokens": 5}


def test_a_format_that_is_not_known_is_refused(demo: HubTokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"no control tokens of .* ask this model through a chat API"):
        OSIM.prompts(demo)
