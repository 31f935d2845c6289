"""USP: golden prompts, and the sentence around a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.simulators import PROFILES, Told
from platolm.simulators.cleaning import Cleaned
from platolm.tokenizer import HubTokenizer
from tests.unit.simulators.conformance import ProfileConformance
from tests.unit.simulators.golden import Golden
from tests.unit.simulators.tokenizers import BEGIN_OF_TEXT, END_HEADER, END_OF_TEXT, EOT, START_HEADER

USP = PROFILES["usp"]
TRAVELLER = Told(profile="You travel on a budget.")
FRAMED = (
    "You are engaging in a conversation with an AI assistant. Your profile is: \nYou travel on a budget.\n"
    " You can say anything you want, either based on the profile or something brand new."
)


class TestConformance(ProfileConformance):
    profile = USP
    tokenizer_name = "llama3"


@pytest.fixture
def golden(llama3_folder: Path) -> Golden:
    return Golden(llama3_folder)


def test_it_opens_after_its_profile(golden: Golden, llama3: HubTokenizer) -> None:
    expected = golden(
        BEGIN_OF_TEXT,
        START_HEADER, "system", END_HEADER, "\n\n" + FRAMED, EOT,
        START_HEADER, "user", END_HEADER, "\n\n",
    )  # fmt: skip
    ids = USP.prompts(llama3).ids([], TRAVELLER)
    assert ids == expected.ids
    assert golden.decoded(ids) == (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{FRAMED}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n"
    )


def test_it_goes_on_in_the_users_own_role(golden: Golden, llama3: HubTokenizer) -> None:
    """Llama 3's template strips what is typed; what was generated stays, after a header that ended in the gap."""
    said = llama3.encode("how about ") + llama3.encode(" thailand")
    expected = golden(
        BEGIN_OF_TEXT,
        START_HEADER, "user", END_HEADER, "\n\n", said, EOT,
        START_HEADER, "assistant", END_HEADER, "\n\nGood choice.", EOT,
        START_HEADER, "user", END_HEADER, "\n\nis it cheap", EOT,
        START_HEADER, "assistant", END_HEADER, "\n\nVery.", EOT,
        START_HEADER, "user", END_HEADER, "\n\n",
    )  # fmt: skip
    growing = USP.prompts(llama3).new(Told())
    growing.add(USER, "how about  thailand", said)
    growing.add(ASSISTANT, " \nGood choice.\n")
    growing.add(USER, "is it cheap  ")
    growing.add(ASSISTANT, "Very.")
    assert growing.ids() == expected.ids


def test_blank_turns_keep_their_place(golden: Golden, llama3: HubTokenizer) -> None:
    expected = golden(
        BEGIN_OF_TEXT,
        START_HEADER, "user", END_HEADER, "\n\n", EOT,
        START_HEADER, "assistant", END_HEADER, "\n\n", EOT,
        START_HEADER, "user", END_HEADER, "\n\n",
    )  # fmt: skip
    assert USP.prompts(llama3).ids([Message(USER, " "), Message(ASSISTANT, "")], Told()) == expected.ids


def test_messages_have_real_roles() -> None:
    turns = [Message(USER, "how about thailand"), Message(ASSISTANT, "Good choice.")]
    assert USP.messages(turns, TRAVELLER) == [
        {"role": "system", "content": FRAMED},
        {"role": "user", "content": "how about thailand"},
        {"role": "assistant", "content": "Good choice."},
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (TRAVELLER, FRAMED),
        (Told(system_prompt="You travel on a budget."), FRAMED),
        (Told(profile=FRAMED), FRAMED),
        (Told(profile="You travel.", instruction="{profile}"), "You travel."),
        (Told(), None),
    ],
)
def test_a_profile_stands_in_the_sentence_of_its_training(told: Told, expected: str | None) -> None:
    assert USP.system_text(told) == expected


def test_it_has_no_goodbye(llama3: HubTokenizer) -> None:
    assert USP.prompts(llama3).stop_ids == (EOT, END_OF_TEXT)
    assert USP.end_markers == ()
    assert USP.clean("  bye <|endconversation|> ") == Cleaned("bye <|endconversation|>", intact=False)
    assert USP.clean("") == Cleaned("")


def test_it_samples_with_a_penalty_for_repetition() -> None:
    assert USP.sampling(Sampling()) == Sampling(**{**PAPERS_SAMPLING, "repetition_penalty": 1.2})


def test_it_needs_a_profile() -> None:
    assert USP.lacks(Told(intent="a trip")) == "profile or persona"
    assert USP.lacks(Told(persona="a traveller")) is None
