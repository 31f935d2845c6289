"""Free dialogues take turns until the context is full, and what a reader would notice is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, prompt_ids
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.training.conftest import tiny_model
from training.simulate import Generate, Talk, findings_of, sampler, simulate


@pytest.fixture
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def saying(text: str, tokenizer: HubTokenizer, *, end: bool = True) -> Generate:
    ids = tokenizer.encode(text) + [tokenizer.eos_id] * end

    def generate(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        return [list(ids) for _ in prompts]

    return generate


def test_speakers_take_turns_until_no_whole_utterance_fits(tokenizer: HubTokenizer) -> None:
    speakers = [(SOCRATIC, saying("Why?", tokenizer)), (PLATOLM, saying("So.", tokenizer, end=False))]
    context = 400
    talks = simulate(speakers, tokenizer, num_dialogues=3, context=context, max_new_tokens=20)
    assert len(talks) == 3
    for talk in talks:
        assert [turn.role for turn in talk.turns[:3]] == [USER, ASSISTANT, USER]
        assert [turn.content for turn in talk.turns[:2]] == ["Why?", "So."]
        assert talk.ended[:2] == [True, False]
        speaker = (SOCRATIC, PLATOLM)[len(talk.turns) % 2]
        assert len(prompt_ids(talk.turns, speaker, tokenizer)) + 20 > context
        before = (SOCRATIC, PLATOLM)[(len(talk.turns) - 1) % 2]
        assert len(prompt_ids(talk.turns[:-1], before, tokenizer)) + 20 <= context


def test_findings_count_ends_repeats_empties_and_openings() -> None:
    def turn(role: str, text: str) -> Turn:
        return Turn(role, text, [1] * len(text))

    first = Talk([turn(USER, "Tea?"), turn(ASSISTANT, "Yes"), turn(USER, "Tea?"), turn(ASSISTANT, " ")], [True] * 4)
    second = Talk([turn(USER, "TEA"), turn(ASSISTANT, "Tea?")], [True, False])
    findings = findings_of([first, second])
    assert findings.num_utterances == 6
    assert findings.ended_by_role == {USER: 1.0, ASSISTANT: pytest.approx(2 / 3)}
    assert findings.tokens_by_role[USER] == pytest.approx(11 / 3)
    assert findings.empty == pytest.approx(1 / 6)
    assert findings.repeated == pytest.approx(1 / 6)
    assert findings.distinct_first_questions == 0.5


def test_no_dialogue_is_no_division_by_zero() -> None:
    assert findings_of([]).distinct_first_questions == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_samples_for_prompts_of_different_lengths(tiny_tokenizer: HubTokenizer) -> None:
    generate = sampler(tiny_model(1), tiny_tokenizer, temperature=0.7, max_new_tokens=4, batch=2)
    replies = generate([[1, 40, 41], [1], [1, 50]])
    assert len(replies) == 3
    assert all(1 <= len(ids) <= 4 for ids in replies)
    assert all(tiny_tokenizer.eos_id not in ids[:-1] for ids in replies)
