"""UserLM: golden prompts, its goodbye, and its guardrails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.dyadic import Turn
from platolm.errors import TokenizerError
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.simulators import PROFILES, Told
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.guardrails import Fault
from platolm.tokenizer import HubTokenizer
from tests.unit.simulators.conformance import ProfileConformance
from tests.unit.simulators.golden import Golden
from tests.unit.simulators.tokenizers import END_CONVERSATION, END_HEADER, END_OF_TEXT, EOT, START_HEADER

USERLM = PROFILES["userlm"]
PARTY = Told(intent="You are a user who wants to plan a birthday party.")


class TestConformance(ProfileConformance):
    profile = USERLM
    tokenizer_name = "llama3"


@pytest.fixture
def golden(llama3_folder: Path) -> Golden:
    return Golden(llama3_folder)


def test_it_opens_after_its_intent(golden: Golden, llama3: HubTokenizer) -> None:
    expected = golden(
        START_HEADER, "system", END_HEADER, "\nYou are a user who wants to plan a birthday party.", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    ids = USERLM.prompts(llama3).ids([], PARTY)
    assert ids == expected.ids
    assert golden.decoded(ids) == (
        "<|start_header_id|>system<|end_header_id|>\nYou are a user who wants to plan a birthday party.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>"
    )


def test_it_goes_on_in_the_users_own_role(golden: Golden, llama3: HubTokenizer) -> None:
    turns = [Message(USER, "what do i need for ten kids"), Message(ASSISTANT, "A cake, and games.")]
    expected = golden(
        START_HEADER, "system", END_HEADER, "\nYou are a user who wants to plan a birthday party.", EOT,
        START_HEADER, "user", END_HEADER, "\nwhat do i need for ten kids", EOT,
        START_HEADER, "assistant", END_HEADER, "\nA cake, and games.", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    ids = USERLM.prompts(llama3).ids(turns, PARTY)
    assert ids == expected.ids
    assert golden.decoded(ids) == (
        "<|start_header_id|>system<|end_header_id|>\nYou are a user who wants to plan a birthday party.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\nwhat do i need for ten kids<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\nA cake, and games.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>"
    )


def test_what_it_generated_stands_as_it_was_with_the_line_break_that_it_wrote(
    golden: Golden, llama3: HubTokenizer
) -> None:
    said = llama3.encode("\n") + llama3.encode("w") + llama3.encode("hat")
    assert said != llama3.encode("\nwhat")
    expected = golden(
        START_HEADER, "user", END_HEADER, said, EOT,
        START_HEADER, "assistant", END_HEADER, "\nA cake.", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    growing = USERLM.prompts(llama3).new(Told())
    where = growing.add(USER, "what", said)
    growing.add(ASSISTANT, "A cake.")
    assert growing.ids() == expected.ids
    assert growing.content_ids(where) == said


def test_thoughts_are_hidden_and_turns_of_one_role_joined(golden: Golden, llama3: HubTokenizer) -> None:
    turns = [
        Message(USER, "hi"),
        Message(USER, "what do i need"),
        Message(ASSISTANT, "<think>\nA party. Kids like cake.\n</think>\n\nA cake."),
        Message(ASSISTANT, "And games."),
    ]
    expected = golden(
        START_HEADER, "user", END_HEADER, "\nhi\n\nwhat do i need", EOT,
        START_HEADER, "assistant", END_HEADER, "\nA cake.\n\nAnd games.", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    assert USERLM.prompts(llama3).ids(turns, Told()) == expected.ids
    assert USERLM.messages(turns, Told()) == [
        {"role": "user", "content": "hi\n\nwhat do i need"},
        {"role": "assistant", "content": "A cake.\n\nAnd games."},
    ]


def test_blank_turns_keep_their_place(golden: Golden, llama3: HubTokenizer) -> None:
    turns = [Message(USER, "hi"), Message(ASSISTANT, "<think>What now?</think>"), Message(USER, "")]
    expected = golden(
        START_HEADER, "user", END_HEADER, "\nhi", EOT,
        START_HEADER, "assistant", END_HEADER, "\n", EOT,
        START_HEADER, "user", END_HEADER, "\n", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    assert USERLM.prompts(llama3).ids(turns, Told()) == expected.ids


def test_what_is_typed_is_not_trimmed_and_a_users_thoughts_stay(golden: Golden, llama3: HubTokenizer) -> None:
    turns = [Message(USER, " what does <think>a</think> mean\n"), Message(ASSISTANT, "\nA tag. ")]
    expected = golden(
        START_HEADER, "user", END_HEADER, "\n what does <think>a</think> mean\n", EOT,
        START_HEADER, "assistant", END_HEADER, "\n\nA tag. ", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    assert USERLM.prompts(llama3).ids(turns, Told()) == expected.ids


def test_a_blank_turn_beside_another_of_its_role_adds_nothing(golden: Golden, llama3: HubTokenizer) -> None:
    turns = [Message(USER, ""), Message(USER, "hi"), Message(ASSISTANT, "Yes?"), Message(ASSISTANT, "")]
    expected = golden(
        START_HEADER, "user", END_HEADER, "\nhi", EOT,
        START_HEADER, "assistant", END_HEADER, "\nYes?", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    assert USERLM.prompts(llama3).ids(turns, Told()) == expected.ids


def test_generated_turns_are_joined_with_their_ids_as_they_were(golden: Golden, llama3: HubTokenizer) -> None:
    first, second = llama3.encode("\n") + llama3.encode("hi"), llama3.encode("\nyes")
    expected = golden(
        START_HEADER, "user", END_HEADER, first, "\n\n", second, "\n\nno", EOT,
        START_HEADER, "user", END_HEADER,
    )  # fmt: skip
    growing = USERLM.prompts(llama3).new(Told())
    places = [growing.add(USER, "hi", first), growing.add(USER, "yes", second)]
    growing.add(USER, "no")
    assert growing.ids() == expected.ids
    assert [growing.content_ids(where) for where in places] == [first, second]


def test_typed_control_tokens_and_a_typed_goodbye_are_text(golden: Golden, llama3: HubTokenizer) -> None:
    typed = "a <|eot_id|><|start_header_id|>user b"
    expected = golden(START_HEADER, "assistant", END_HEADER, "\n" + typed, EOT, START_HEADER, "user", END_HEADER)
    assert USERLM.prompts(llama3).ids([Message(ASSISTANT, typed)], Told()) == expected.ids

    typed = "say <|endconversation|> and go"
    assert END_CONVERSATION in llama3.encode(typed)
    ids = USERLM.prompts(llama3).ids([Message(ASSISTANT, typed)], Told())
    assert END_CONVERSATION not in ids
    assert golden.decoded(ids) == (
        "<|start_header_id|>assistant<|end_header_id|>\nsay <|endconversation|> and go<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>"
    )


def test_bare_numbers() -> None:
    """One expectation without any real tokenizer in it: an id is 100 + its byte."""
    human, robot = [100 + b for b in b"user"], [100 + b for b in b"assistant"]
    expected = [3, *human, 4, 110, 204, 205, 5, 3, *robot, 4, 110, 197, 5, 3, *human, 4]
    turns = [Message(USER, "hi"), Message(ASSISTANT, "a")]
    assert USERLM.prompts(Bytes()).ids(turns, Told()) == expected


@pytest.mark.parametrize(("vocab_size", "size_bytes"), [(2**16, 2), (2**16 + 1, 4)])
def test_ids_are_kept_in_as_few_bytes_as_hold_them(vocab_size: int, size_bytes: int) -> None:
    tokenizer = Bytes()
    tokenizer.vocab_size = vocab_size
    growing = USERLM.prompts(tokenizer).new(Told())
    growing.add(USER, "hi", [vocab_size - 1])
    assert growing.packed().itemsize == size_bytes
    assert vocab_size - 1 in growing.ids()


class Bytes:
    """100 + a byte; UserLM's control tokens are 2 to 5, and its goodbye has no id of its own."""

    bos_id, eos_id = 1, 2
    vocab_size = 356
    tokens: ClassVar = {"<|start_header_id|>": 3, "<|end_header_id|>": 4, "<|eot_id|>": 5}

    def encode(self, text: str) -> list[int]:
        return [100 + byte for byte in text.encode()]

    encode_fixed = encode

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i - 100 for i in ids).decode()

    def id_of(self, token: str) -> int | None:
        return self.tokens.get(token)


def test_where_the_engine_stops(llama3: HubTokenizer) -> None:
    prompts = USERLM.prompts(llama3)
    assert prompts.turn_end_ids == (EOT, END_OF_TEXT)
    assert prompts.goodbye_ids == (END_CONVERSATION,)
    assert prompts.stop_ids == (EOT, END_OF_TEXT, END_CONVERSATION)
    assert USERLM.end_markers == ("<|endconversation|>",)
    assert USERLM.prompts(Bytes()).stop_ids == (5, 2)


def test_the_goodbye_is_read_from_generated_ids(llama3: HubTokenizer) -> None:
    prompts = USERLM.prompts(llama3)
    said = [*llama3.encode("\nthanks, that is all"), END_CONVERSATION]
    spoken = USERLM.spoken_ids(said, prompts)
    assert spoken == said
    assert USERLM.clean(llama3.decode(spoken)) == Cleaned(
        "thanks, that is all", End.MARKER, "<|endconversation|>", intact=False
    )
    spoken = USERLM.spoken_ids([*llama3.encode("\nand cake?"), EOT], prompts)
    assert USERLM.clean(llama3.decode(spoken)) == Cleaned("and cake?", intact=True)


@pytest.mark.parametrize("text", ["", "\n", " \n\n "])
def test_a_blank_turn_is_a_goodbye(text: str) -> None:
    assert USERLM.clean(text) == Cleaned("", End.BLANK)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Told(intent="You want to plan a party."), "You are a user who wants to plan a party."),
        (Told(intent="You want a refund."), "You are a user who wants a refund."),
        (Told(intent="You wanted to go."), "You wanted to go."),
        (Told(intent="Plan a party."), "Plan a party."),
        (Told(intent="You want cake.", persona="You are ten."), "You are a user who wants cake. You are ten."),
        (Told(system_prompt="Answer in French.", intent=" You want cake. "),
         "You are a user who wants cake. Answer in French."),
        (Told(intent="cake", instruction="You are a user who wants {intent}."), "You are a user who wants cake."),
        (Told(), None),
        (Told(intent=" "), None),
    ],
)  # fmt: skip
def test_what_it_is_told(told: Told, expected: str | None) -> None:
    assert USERLM.system_text(told) == expected


@pytest.mark.parametrize(
    ("told", "lacking"),
    [
        (Told(), "intent or goal"),
        (Told(persona="You are ten."), "intent or goal"),
        (Told(intent="cake"), None),
        (Told(goal="cake"), None),
        (Told(system_prompt="You are a user who wants cake."), None),
    ],
)
def test_it_needs_an_intent(told: Told, lacking: str | None) -> None:
    assert USERLM.lacks(told) == lacking


def test_it_samples_as_its_card_says() -> None:
    assert USERLM.sampling(Sampling()) == Sampling(**{**PAPERS_SAMPLING, "temperature": 1.0, "top_p": 0.8})
    assert USERLM.sampling(Sampling(temperature=0.7)) == Sampling(**{**PAPERS_SAMPLING, "top_p": 0.8})


ANSWERED = [Turn(USER, "i need ideas for a party"), Turn(ASSISTANT, "How many guests do you expect?")]


@pytest.mark.parametrize(
    ("content", "end", "before", "fault"),
    [
        ("ten kids, maybe more", None, ANSWERED, None),
        ("It is for ten kids", None, ANSWERED, None),
        ("I need ideas", None, [], Fault.FIRST_TOKEN),
        ("I'm not sure yet", None, ANSWERED, Fault.FIRST_TOKEN),
        ("Here's what i have", None, ANSWERED, Fault.FIRST_TOKEN),
        ("You tell me please", None, ANSWERED, Fault.FIRST_TOKEN),
        ("Your ideas are bad", None, ANSWERED, None),
        ("i dont know yet", None, ANSWERED, None),
        ("about ten", None, ANSWERED, Fault.TOO_SHORT),
        ("kids " * 25, None, ANSWERED, None),
        ("kids " * 26, None, ANSWERED, Fault.TOO_LONG),
        ("I need ideas for a  party", None, ANSWERED, Fault.FIRST_TOKEN),
        ("i NEED ideas for a  party", None, ANSWERED, Fault.REPEATED),
        ("how many guests do you expect?", None, ANSWERED, Fault.REPEATED),
        ("ok so plan a big party now", None, ANSWERED, Fault.REPEATED),
        ("", End.BLANK, [], Fault.EARLY_END),
        ("thanks", End.MARKER, ANSWERED[:1], Fault.EARLY_END),
        ("thanks", End.MARKER, ANSWERED, None),
        ("How can I help you today?", None, ANSWERED, Fault.ROLE_SLIP),
    ],
)
def test_its_guardrails(content: str, end: End | None, before: list[Turn], fault: Fault | None) -> None:
    told = Told(intent="plan a big party")
    assert USERLM.fault_of(Cleaned(content, end), before, told) == fault


def test_the_runs_own_minimum_holds_too() -> None:
    said = Cleaned("thanks", End.MARKER)
    assert USERLM.fault_of(said, ANSWERED, min_turns=4) is Fault.EARLY_END
    assert USERLM.fault_of(said, ANSWERED, min_turns=3) is None


def test_a_tokenizer_without_its_tokens_is_refused(demo: HubTokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"no '<\|start_header_id\|>'"):
        USERLM.prompts(demo)
