"""How the models that answer are prompted where their tokenizer is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import PLATOLM, Turn, prompt_ids
from platolm.errors import TokenizerError
from platolm.respondents import RESPONDENTS
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.simulators.cleaning import Cleaned
from platolm.simulators.told import Told
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.simulators.tokenizers import (
    BEGIN_OF_TEXT,
    END_HEADER,
    EOT,
    START_HEADER,
    raw_tokenizer,
    save_chatml_tokenizer,
    save_llama3_tokenizer,
)

PLATO, CHAT = RESPONDENTS["platolm"], RESPONDENTS["chat"]
TOLD = Told(system_prompt="Be brief.", persona="shy")
TURNS = [Turn(USER, "Hi </s>"), Turn(ASSISTANT, "<think>so</think> Ho", [5, 6, 7]), Turn(USER, "And?")]


@pytest.fixture(scope="module")
def llama3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama3_tokenizer(tmp_path_factory.mktemp("llama3"))


@pytest.fixture(scope="module")
def llama3(llama3_folder: Path) -> HubTokenizer:
    return load_tokenizer(llama3_folder)


def test_platolm_is_prompted_as_it_was_trained(tiny_tokenizer: HubTokenizer) -> None:
    expected = prompt_ids([Message(SYSTEM, "Be brief."), *TURNS], PLATOLM, tiny_tokenizer)
    prompts = PLATO.prompts(tiny_tokenizer)
    growing = prompts.new(TOLD)
    for turn in TURNS:
        growing.add(turn.role, turn.content, turn.content_ids)
    assert prompts.ids(TURNS, TOLD) == growing.ids() == expected
    assert (prompts.stop_ids, prompts.goodbye_ids) == ((tiny_tokenizer.eos_id,), ())


def test_a_chat_model_is_prompted_in_its_own_format(llama3: HubTokenizer, llama3_folder: Path) -> None:
    def text(content: str) -> list[int]:
        return raw_tokenizer(llama3_folder).encode(content, add_special_tokens=False).ids

    def header(role: str) -> list[int]:
        return [START_HEADER, *text(role), END_HEADER]

    assert CHAT.prompts(llama3).ids(TURNS, TOLD) == [
        BEGIN_OF_TEXT,
        *[*header("system"), *text("\n\nBe brief."), EOT],
        *[*header("user"), *text("\n\nHi </s>"), EOT],
        *[*header("assistant"), *text("\n\n"), 5, 6, 7, EOT],
        *[*header("user"), *text("\n\nAnd?"), EOT],
        *[*header("assistant"), *text("\n\n")],
    ]


@pytest.mark.parametrize("name", RESPONDENTS)
def test_a_grown_prompt_is_the_one_composed_at_once(name: str, llama3: HubTokenizer) -> None:
    prompts = RESPONDENTS[name].prompts(llama3)
    growing = prompts.new(TOLD)
    for num_turns, turn in enumerate(TURNS, start=1):
        growing.add(turn.role, turn.content, turn.content_ids)
        assert growing.ids() == prompts.ids(TURNS[:num_turns], TOLD)
        assert len(growing) == len(growing.packed()) == len(growing.ids())


@pytest.mark.parametrize("name", RESPONDENTS)
def test_it_sees_its_own_thoughts(name: str, llama3: HubTokenizer) -> None:
    """They are hidden from the simulator alone: a respondent that was given an answer sees what was given."""
    prompts = RESPONDENTS[name].prompts(llama3)
    thinking = [Turn(USER, "a"), Turn(ASSISTANT, "<think>b</think>c")]
    plain = [Turn(USER, "a"), Turn(ASSISTANT, "c")]
    assert prompts.ids(thinking, Told()) != prompts.ids(plain, Told())


def test_a_tokenizer_without_a_chat_format_is_refused(tiny_tokenizer: HubTokenizer) -> None:
    with pytest.raises(TokenizerError, match="no control tokens of a chat format"):
        CHAT.prompts(tiny_tokenizer)


@pytest.mark.parametrize("name", RESPONDENTS)
def test_what_it_says_is_kept_as_it_is(name: str) -> None:
    text = "\n <think>a</think> b <e> \n"
    assert RESPONDENTS[name].clean(text) == Cleaned(text)
    assert RESPONDENTS[name].stream_cleaner().feed(text) == text
    assert RESPONDENTS[name].fault_of(Cleaned("As an AI, I"), [], TOLD, min_turns=9) is None
    assert RESPONDENTS[name].lacks(Told()) is None


def test_it_is_told_the_runs_system_prompt_alone() -> None:
    assert [one.system_text(TOLD) for one in RESPONDENTS.values()] == ["Be brief."] * 2
    assert [one.system_text(Told(persona="shy")) for one in RESPONDENTS.values()] == [None] * 2


def test_only_platolm_samples_as_the_paper_does() -> None:
    given = Sampling(top_p=0.5)
    assert PLATO.sampling(given) == Sampling(**{**PAPERS_SAMPLING, "top_p": 0.5})
    assert CHAT.sampling(given) == given


def test_the_id_that_ends_a_turn_is_not_spoken(tmp_path: Path) -> None:
    chatml = load_tokenizer(save_chatml_tokenizer(tmp_path))
    prompts = CHAT.prompts(chatml)
    assert CHAT.spoken_ids([5, chatml.eos_id], prompts) == [5]
    assert CHAT.spoken_ids([5, 6], prompts) == [5, 6]
