"""What a mode takes of a seed that is a conversation, and what a request with such seeds must be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from platolm.conversation import ASSISTANT, USER
from platolm.seed_modes import GivenTurn, Seed, SeedMode, given_positions, given_utterances, lacks, taken
from platolm.simulators.told import Told
from platolm.spec import RunRequest, RunSpec, SideSpec, told_of

ALTERNATION = "alternation of user and assistant, the user first"


def conversation(*texts: str, **fields: Any) -> Seed:
    turns = [GivenTurn.model_validate({"role": (USER, ASSISTANT)[i % 2], "content": t}) for i, t in enumerate(texts)]
    return Seed(turns=turns, **fields)


@pytest.mark.parametrize(
    ("from_turn", "left", "ended"),
    [
        (None, "QARB", True),
        (4, "QARB", True),
        (9, "QARB", True),
        (3, "QAR", False),
        (1, "Q", False),
        (-1, "QAR", False),
        (-3, "Q", False),
        (-4, "", False),
    ],
)
def test_so_many_turns_stand(from_turn: int | None, left: str, ended: bool) -> None:
    seed = taken(conversation(*"QARB", ended=True), SeedMode.CONTINUE, from_turn)
    assert given_utterances(seed, SeedMode.CONTINUE) == [
        ((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(left)
    ]
    assert seed.ended is ended


def test_the_users_turns_are_asked_again() -> None:
    seed = taken(conversation(*"QARB"), SeedMode.REANSWER)
    assert given_utterances(seed, SeedMode.REANSWER) == [(USER, "Q"), (USER, "R")]
    assert taken(seed, SeedMode.REANSWER) == seed


def test_other_modes_take_no_conversation() -> None:
    seed = Seed(question="Q", turns=[GivenTurn(role="user", content="R")])
    assert taken(seed, SeedMode.QUESTION, 1) is seed
    assert given_utterances(seed, SeedMode.QUESTION) == [(USER, "Q")]


@pytest.mark.parametrize(
    ("mode", "seed", "what"),
    [
        (SeedMode.CONTINUE, Seed(), "turn of a user"),
        (SeedMode.REANSWER, Seed(question="Q"), "turn of a user"),
        (SeedMode.CONTINUE, conversation("Q", " "), "text in one of its turns"),
        (SeedMode.CONTINUE, Seed(turns=[GivenTurn(role="assistant", content="A")]), ALTERNATION),
        (SeedMode.CONTINUE, Seed(turns=[GivenTurn(role="user", content="Q")] * 2), ALTERNATION),
        (SeedMode.REANSWER, Seed(turns=[GivenTurn(role="user", content="Q")] * 2), None),
        (SeedMode.CONTINUE, conversation(*"QA"), None),
        (SeedMode.CONTINUE, conversation("Q"), None),
    ],
)
def test_what_a_conversation_lacks(mode: SeedMode, seed: Seed, what: str | None) -> None:
    assert lacks(seed, mode) == what


def request(mode: SeedMode, *seeds: Seed, **fields: Any) -> RunRequest:
    return RunRequest(spec=RunSpec(conversations=1, seed_mode=mode, **fields), seeds=list(seeds))


def test_a_request_takes_what_its_spec_says() -> None:
    whole = conversation(*"QARB", ended=True, line=3)
    made = request(SeedMode.CONTINUE, whole, from_turn=-2)
    assert made.seeds == [whole]
    assert made.taken_seeds() == [conversation(*"QA", ended=False, line=3)]


@pytest.mark.parametrize(
    ("mode", "from_turn", "told"),
    [
        (SeedMode.QUESTION, 2, "from_turn is for seed_mode continue, not question"),
        (SeedMode.REANSWER, 2, "from_turn is for seed_mode continue, not reanswer"),
        (SeedMode.CONTINUE, 0, "from_turn 0 leaves nothing of a seed"),
        (SeedMode.CONTINUE, -2, r"seeds\[0\] has no turn of a user: seed_mode continue needs one"),
    ],
)
def test_a_request_that_leaves_nothing_to_go_on_with(mode: SeedMode, from_turn: int, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        request(mode, conversation(*"QA"), from_turn=from_turn)


def test_a_seeds_turns_are_the_users_and_the_assistants() -> None:
    body = {
        "spec": {"conversations": 1, "seed_mode": "continue"},
        "seeds": [{"turns": [{"role": "tool", "content": "x"}]}],
    }
    with pytest.raises(ValidationError, match=r"seeds\.0\.turns\.0\.role"):
        RunRequest.model_validate(body)


def test_a_simulator_that_says_nothing_has_to_be_told_nothing() -> None:
    request(SeedMode.REANSWER, conversation("Q"), simulator=SideSpec(profile="usp"))
    with pytest.raises(ValidationError, match=r"usp has to be told .*: seeds\[1\] gives none"):
        request(
            SeedMode.CONTINUE,
            conversation("Q", persona="A cook."),
            conversation("Q"),
            simulator=SideSpec(profile="usp"),
        )


def test_a_conversations_user_is_told_where_it_goes_on() -> None:
    side, seed = SideSpec(profile="roleplay", system_prompt="Be terse."), conversation("Q", persona="A cook.")
    assert told_of(side, seed, SeedMode.CONTINUE) == Told(system_prompt="Be terse.", persona="A cook.")
    assert told_of(side, seed, SeedMode.REANSWER) == Told(system_prompt="Be terse.")


@pytest.mark.parametrize(
    ("fields", "positions"),
    [
        ({"seed_mode": "continue", "turns": [{"finish_reason": "seed"}, {"finish_reason": "stop"}]}, {0}),
        (
            {"seed_mode": "reanswer", "turns": [{"finish_reason": r} for r in ("seed", "stop", "seed", "length")]},
            {0, 2},
        ),
        ({"seed_mode": "question", "turns": [{"finish_reason": "seed"}]}, set()),
        ({"seed_mode": "continue", "turns": None}, set()),
        ({"seed_mode": ["continue"], "turns": [{"finish_reason": "seed"}]}, set()),
        ({"seed_mode": "continue", "turns": ["seed", {"finish_reason": "seed"}]}, {1}),
        ({}, set()),
    ],
)
def test_which_turns_of_a_record_nobody_said_in_its_run(fields: dict[str, Any], positions: set[int]) -> None:
    assert given_positions(fields) == positions
