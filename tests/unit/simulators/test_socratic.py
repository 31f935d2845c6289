"""Socratic: the ids are `platolm.dyadic`'s, in both variants of its header."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import SOCRATIC as DYADIC
from platolm.dyadic import Turn, prompt_ids
from platolm.sampling import Sampling
from platolm.simulators import PROFILES, SimulatorProfile, Told
from platolm.simulators.cleaning import Cleaned, End
from platolm.spec import Seed, SeedMode, SideSpec, told_of
from platolm.tokenizer import HubTokenizer
from tests.unit.simulators.conformance import TURNS, ProfileConformance, anything
from tests.unit.simulators.golden import Golden
from tests.unit.simulators.tokenizers import DEMO_MODEL

SOCRATIC, NEWLINE = PROFILES["socratic"], PROFILES["socratic-newline"]
BOS, EOS = 1, 2
FIRST = "A chat between a curious human and an artificial intelligence assistant."
SECOND = (
    "The human can ask further questions based on previous conversations, "
    "or he can directly ask brand new questions without any conversations as context."
)


class TestConformance(ProfileConformance):
    profile = SOCRATIC
    tokenizer_name = "demo"


class TestConformanceWithTheBackendsHeader(ProfileConformance):
    profile = NEWLINE
    tokenizer_name = "demo"


@pytest.fixture
def golden() -> Golden:
    return Golden(DEMO_MODEL)


@pytest.mark.parametrize(
    ("profile", "header"), [(SOCRATIC, f"{FIRST} {SECOND}"), (NEWLINE, f"{FIRST}\n{SECOND}")], ids=["space", "newline"]
)
def test_golden_prompts_of_both_headers(
    golden: Golden, demo: HubTokenizer, profile: SimulatorProfile, header: str
) -> None:
    opening = golden(BOS, f"{header}\n\nHuman: ", BOS)
    prompts = profile.prompts(demo)
    assert prompts.ids([], Told()) == opening.ids
    assert golden.decoded(opening.ids) == f"<s>{header}\n\nHuman: <s>"

    expected = golden("How are you?", EOS, "Assistant: ", BOS, "Fine. </s> is text.", EOS, "Human: ", BOS)
    turns = [Message(USER, "How are you?"), Message(ASSISTANT, "Fine. </s> is text.")]
    assert prompts.ids(turns, Told()) == expected.ids
    assert golden.decoded(expected.ids) == (
        f"<s>{header}\n\nHuman: <s>How are you?</s>Assistant: <s>Fine. </s> is text.</s>Human: <s>"
    )


def test_what_it_is_told_stands_in_the_header(golden: Golden, demo: HubTokenizer) -> None:
    told = Told(system_prompt="Be brief.", persona="The human is ten.", intent="He wants a cat.")
    expected = golden(BOS, f"{FIRST} {SECOND} Be brief. The human is ten. He wants a cat.\n\nHuman: ", BOS)
    assert SOCRATIC.prompts(demo).ids([], told) == expected.ids
    assert SOCRATIC.prompts(demo).new(told).ids() == expected.ids


@pytest.mark.parametrize("system_prompt", [None, "Be brief. "])
@pytest.mark.parametrize("persona", [None, " ", "A cook."])
def test_it_is_told_as_runs_tell_it(system_prompt: str | None, persona: str | None) -> None:
    side = SideSpec(profile="socratic", system_prompt=system_prompt)
    seed = Seed(persona=persona, intent="You want a pan.")
    told = told_of(side, seed, SeedMode.INTENT)
    assert told == Told(system_prompt=system_prompt, persona=persona, intent=seed.intent)
    said = [text.strip() for text in (system_prompt, persona, seed.intent) if text and text.strip()]
    assert SOCRATIC.system_text(told) == " ".join(said)


@anything
@given(turns=TURNS)
def test_its_ids_are_those_of_training(demo: HubTokenizer, turns: list[Turn]) -> None:
    """Thoughts aside, which no simulator sees."""
    turns = [turn for turn in turns if "think>" not in turn.content]
    expected = prompt_ids([Turn(SYSTEM, "Be brief."), *turns], DYADIC, demo)
    assert SOCRATIC.prompts(demo).ids(turns, Told(system_prompt="Be brief.")) == expected


def test_what_it_writes_is_kept_but_for_its_goodbye(demo: HubTokenizer) -> None:
    assert SOCRATIC.clean(" a\n") == Cleaned(" a\n")
    assert SOCRATIC.clean("") == Cleaned("")
    assert SOCRATIC.clean("<think>a</think>b") == Cleaned("<think>a</think>b")
    assert SOCRATIC.clean("bye <e> now") == Cleaned("bye ", End.MARKER, "<e>", intact=False)
    prompts = SOCRATIC.prompts(demo)
    assert prompts.stop_ids == prompts.turn_end_ids == (EOS,)


def test_it_samples_as_the_paper_does() -> None:
    assert SOCRATIC.sampling(Sampling()) == Sampling(
        temperature=0.7, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0, max_tokens=512
    )


def test_messages_have_real_roles() -> None:
    turns = [Message(USER, "Hi"), Message(ASSISTANT, "Hello")]
    assert SOCRATIC.messages(turns, Told(intent="Ask.")) == [
        {"role": "system", "content": "Ask."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]


def test_a_goodbye_of_one_id_stops_the_engine(tmp_path: Path) -> None:
    class WithGoodbye:
        bos_id, eos_id, vocab_size = 1, 2, 400

        def encode(self, text: str) -> list[int]:
            return [100 + byte for byte in text.encode()]

        encode_fixed = encode

        def decode(self, ids: object) -> str:
            raise NotImplementedError

        def id_of(self, token: str) -> int | None:
            return 9 if token == "<e>" else None

    assert SOCRATIC.prompts(WithGoodbye()).stop_ids == (2, 9)
