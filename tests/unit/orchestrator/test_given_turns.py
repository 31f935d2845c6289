"""A conversation that a seed gives, in whole or in part, comes back from the queue as it was, wherever it stood."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, USER
from platolm.endings import FinishReason
from platolm.sampling import Sampling
from platolm.seed_modes import GivenTurn
from platolm.speakers import TokenSpeaker
from platolm.spec import RunSpec, Seed, SeedMode, speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.conversations.state import ConversationState, RecordedTurn, restore

LENGTH = 8
WHOLE_MODES = st.sampled_from([SeedMode.CONTINUE, SeedMode.REANSWER])
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def state_of(tokenizer: HubTokenizer, mode: SeedMode, texts: list[str]) -> ConversationState:
    sides = {
        profile.role: TokenSpeaker(profile, tokenizer, profile.name, Sampling(), context_tokens=1024)
        for profile in map(speaker_profile, ("socratic", "platolm"))
    }
    roles = (USER, USER) if mode is SeedMode.REANSWER else (USER, ASSISTANT)
    turns = [GivenTurn.model_validate({"role": roles[i % 2], "content": text}) for i, text in enumerate(texts)]
    spec = RunSpec(conversations=1, seed_mode=mode)
    return ConversationState("run-a-00000000", "run-a", 0, spec, Seed(turns=turns), sides)


def carry_on(state: ConversationState, tokenizer: HubTokenizer) -> list[str]:
    """To `LENGTH` utterances or the seed's end; gives each as the queue holds it."""
    while len(state.turns) < LENGTH and not state.is_exhausted:
        said = f"{state.next_role} {len(state.turns)}"
        made = RecordedTurn(state.next_role, said, FinishReason.STOP, 1, 5, 7, token_ids=tokenizer.encode(said))
        state.add(state.given_turn() or made)
    return [state.turn_json(position) for position in range(len(state.turns))]


@given(WHOLE_MODES, TEXTS, st.integers(0, LENGTH))
def test_it_goes_on_as_if_it_had_never_stopped(
    tokenizer: HubTokenizer, mode: SeedMode, texts: list[str], stopped_at: int
) -> None:
    whole, again = state_of(tokenizer, mode, texts), state_of(tokenizer, mode, texts)
    recorded = carry_on(whole, tokenizer)
    restore(again, recorded[:stopped_at])
    carry_on(again, tokenizer)
    assert [turn.content for turn in again.turns] == [turn.content for turn in whole.turns]
    assert [turn.finish_reason for turn in again.turns] == [turn.finish_reason for turn in whole.turns]
    for role in (USER, ASSISTANT):
        assert again.prompt(role).ids() == whole.prompt(role).ids()
    given_texts = [turn.content for turn in whole.turns if turn.finish_reason is FinishReason.SEED]
    most = LENGTH // 2 if mode is SeedMode.REANSWER else LENGTH
    assert given_texts == texts[:most]
    assert [turn.role for turn in whole.turns] == [(USER, ASSISTANT)[i % 2] for i in range(len(whole.turns))]
