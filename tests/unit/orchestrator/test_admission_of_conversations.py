"""Seeds that are conversations, compared with what a run's models can take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile, Turn, prompt_ids
from platolm.seed_modes import GivenTurn
from platolm.spec import Endings, RunSpec, Seed, SeedMode
from platolm.tokenizer import HubTokenizer
from services.orchestrator.engines.sides import SideDescription
from services.orchestrator.runs.admission import MIN_ROOM_TOKENS, NoUsableSeedError, admit

CONTEXT = 400
ROLES = (USER, ASSISTANT)


@pytest.fixture
def found(tiny_tokenizer_folder: Path) -> dict[str, SideDescription]:
    names = {USER: "socratic", ASSISTANT: "platolm"}
    return {role: SideDescription(name, str(tiny_tokenizer_folder), CONTEXT) for role, name in names.items()}


def spec(mode: SeedMode, **endings: Any) -> RunSpec:
    return RunSpec(conversations=5, seed_mode=mode, endings=Endings(context_tokens=CONTEXT, **endings))


def conversation(*texts: str, **fields: Any) -> Seed:
    turns = [GivenTurn.model_validate({"role": ROLES[i % 2], "content": text}) for i, text in enumerate(texts)]
    return Seed(turns=turns, **fields)


def longest_that_fits(texts: tuple[str, ...], profile: DyadicProfile, tokenizer: HubTokenizer) -> int:
    """How often `é ` may stand in the last of these texts and the next speaker."""
    turns = [Turn(ROLES[i % 2], text) for i, text in enumerate(texts)]
    lengths = (
        len(prompt_ids([*turns, Turn(ROLES[len(texts) % 2], "é " * n)], profile, tokenizer)) for n in range(CONTEXT)
    )
    return next(n for n, length in enumerate(lengths) if CONTEXT - length < MIN_ROOM_TOKENS) - 1


@pytest.mark.parametrize(("before", "profile"), [(("Q", "A"), PLATOLM), (("Q", "A", "R"), SOCRATIC)])
def test_exactly_those_that_leave_room_for_their_next_speaker(
    found: dict[str, SideDescription], tiny_tokenizer: HubTokenizer, before: tuple[str, ...], profile: DyadicProfile
) -> None:
    longest = longest_that_fits(before, profile, tiny_tokenizer)
    lengths = (1, longest, longest + 1, 10**5)
    admitted = admit(spec(SeedMode.CONTINUE), [conversation(*before, "é " * n, line=n) for n in lengths], found)
    assert [seed.line for seed in admitted.seeds] == [1, longest]
    assert admitted.warnings == [
        f"2 seeds leave no room for an answer in {CONTEXT} tokens and are left out (lines {longest + 1}, {10**5})"
    ]


def test_each_is_measured_with_its_own_next_speaker_and_stays_in_its_place(
    found: dict[str, SideDescription], tiny_tokenizer: HubTokenizer
) -> None:
    long = "é " * (longest_that_fits(("Q",), SOCRATIC, tiny_tokenizer) + 1)
    seeds = [conversation("Q", long, line=1), conversation("Q", line=2), conversation("Q", "A", line=3)]
    assert [seed.line for seed in admit(spec(SeedMode.CONTINUE), seeds, found).seeds] == [2, 3]
    only_respondent = {ASSISTANT: found[ASSISTANT]}
    assert [seed.line for seed in admit(spec(SeedMode.CONTINUE), seeds, only_respondent).seeds] == [1, 2, 3]


def test_those_with_too_many_turns_are_left_out(found: dict[str, SideDescription]) -> None:
    seeds = [conversation(*["Q"] * n, line=n) for n in (1, 2, 3, 4, 5)]
    admitted = admit(spec(SeedMode.CONTINUE, max_turns=4), seeds, found)
    assert [seed.line for seed in admitted.seeds] == [1, 2, 3, 5]  # an open question is always answered
    assert admitted.warnings == [
        "1 seeds have too many turns already for a round within max_turns 4 and are left out (lines 4)"
    ]
    with pytest.raises(NoUsableSeedError, match="every seed has too many turns already for a round within max_turns 2"):
        admit(spec(SeedMode.CONTINUE, max_turns=2), seeds[1:2], found)


def test_a_first_question_that_fits_is_enough_to_answer_again(found: dict[str, SideDescription]) -> None:
    long = "é " * 10**4
    seeds = [Seed(turns=[GivenTurn(role="user", content=t) for t in texts]) for texts in (["Q", long], [long, "Q"])]
    admitted = admit(spec(SeedMode.REANSWER), seeds, found)
    assert admitted.seeds == seeds[:1]
