"""A run's spec: what seeds must give, what they are used for, and what the spec determines."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from platolm.respondents import RESPONDENTS
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.seed_modes import lacks
from platolm.simulators import PROFILES as SIMULATORS
from platolm.simulators import Told
from platolm.spec import (
    Endings,
    RunRequest,
    RunSpec,
    Seed,
    SeedMode,
    SideSpec,
    given_utterances,
    sampling_seed,
    seed_position,
    speaker_profile,
    told_of,
)

WHOLE = Seed(question="why?", answer="so", intent="You want a cake.", persona="You are shy.")


@pytest.mark.parametrize(
    ("seed", "mode", "lacking"),
    [
        (Seed(), SeedMode.FREE, None),
        (Seed(question="why?"), SeedMode.QUESTION, None),
        (Seed(question=" "), SeedMode.QUESTION, "question"),
        (Seed(answer="so"), SeedMode.EXCHANGE, "question"),
        (Seed(question="why?", answer="\n"), SeedMode.EXCHANGE, "answer"),
        (Seed(question="why?", answer="so"), SeedMode.EXCHANGE, None),
        (Seed(intent="a"), SeedMode.INTENT, None),
        (Seed(persona="a", intent=" "), SeedMode.INTENT, None),
        (Seed(question="why?"), SeedMode.INTENT, "intent, goal, persona or profile"),
    ],
)
def test_what_a_seed_lacks(seed: Seed, mode: SeedMode, lacking: str | None) -> None:
    assert lacks(seed, mode) == lacking


@pytest.mark.parametrize(
    ("mode", "seeds", "said"),
    [
        (SeedMode.FREE, [WHOLE], "takes no seeds"),
        (SeedMode.QUESTION, [], "needs at least one seed"),
        (SeedMode.EXCHANGE, [WHOLE, Seed(question="why?")], r"seeds\[1\] has no answer"),
    ],
)
def test_a_request_whose_seeds_do_not_fit(mode: SeedMode, seeds: list[Seed], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RunRequest(spec=RunSpec(conversations=1, seed_mode=mode), seeds=seeds)


@pytest.mark.parametrize(
    ("mode", "utterances"),
    [
        (SeedMode.FREE, []),
        (SeedMode.INTENT, [("user", "why?")]),
        (SeedMode.QUESTION, [("user", "why?")]),
        (SeedMode.EXCHANGE, [("user", "why?"), ("assistant", "so")]),
    ],
)
def test_what_a_seed_gives(mode: SeedMode, utterances: list[tuple[str, str]]) -> None:
    assert given_utterances(WHOLE, mode) == utterances


@pytest.mark.parametrize(
    ("system_prompt", "seed", "mode", "told"),
    [
        (None, WHOLE, SeedMode.QUESTION, None),
        (" Be brief. ", WHOLE, SeedMode.QUESTION, "Be brief."),
        (None, WHOLE, SeedMode.INTENT, "You are shy. You want a cake."),
        ("Be brief.", Seed(intent="You want a cake.", persona=" "), SeedMode.INTENT, "Be brief. You want a cake."),
    ],
)
def test_what_the_simulator_is_told(system_prompt: str | None, seed: Seed, mode: SeedMode, told: str | None) -> None:
    side = SideSpec(profile="socratic", system_prompt=system_prompt)
    assert speaker_profile("socratic").system_text(told_of(side, seed, mode)) == told


def test_repeats_of_a_seed_come_in_a_row() -> None:
    spec = RunSpec(conversations=8, repeats=2)
    assert [seed_position(index, spec, 3) for index in range(8)] == [0, 0, 1, 1, 2, 2, 0, 0]


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**8), st.integers(0, 10**5), st.integers(0, 100))
def test_a_sampling_seed_fits_an_engine_and_is_the_same_again(seed: int, index: int, turn: int, again: int) -> None:
    value = sampling_seed(seed, index, turn, again)
    assert 0 <= value < 2**31
    assert sampling_seed(seed, index, turn, again) == value


@pytest.mark.parametrize(
    ("run_seed", "index", "turn_index", "regeneration", "expected"),
    [
        (0, 0, 0, 0, 303972234),
        (0, 0, 1, 0, 718180378),
        (0, 1, 0, 0, 334645010),
        (7, 12, 3, 0, 821667323),
        (7, 12, 3, 1, 424231264),
        (7, 12, 3, 2, 1293308503),
        (2**63 - 1, 10**8, 99_999, 0, 98404516),
    ],
)
def test_sampling_seeds_never_change(
    run_seed: int, index: int, turn_index: int, regeneration: int, expected: int
) -> None:
    """A run that is continued by another release goes on as it would have."""
    assert sampling_seed(run_seed, index, turn_index, regeneration) == expected


def test_an_utterance_made_for_the_first_time_has_the_seed_without_a_regeneration() -> None:
    assert sampling_seed(7, 12, 3, 0) == sampling_seed(7, 12, 3)


def test_sampling_seeds_differ() -> None:
    seeds = {sampling_seed(run, i, t, again) for run in (0, 1) for i in range(9) for t in range(9) for again in (0, 1)}
    assert len(seeds) == 2 * 9 * 9 * 2


def test_a_digest_is_of_what_the_spec_says() -> None:
    assert RunSpec(conversations=1).digest() == RunSpec(conversations=1, endings=Endings()).digest()
    assert RunSpec(conversations=1).digest() != RunSpec(conversations=1, repeats=2).digest()


def test_the_same_spec_in_other_words_has_the_same_digest() -> None:
    said = RunSpec.model_validate({"conversations": 3, "simulator": {"profile": "socratic", "sampling": {"top_p": 1}}})
    read = RunSpec.model_validate_json(
        '{"simulator": {"sampling": {"top_p": 1.0}, "profile": "socratic"}, "conversations": 3}'
    )
    assert said.digest() == read.digest() == RunSpec(conversations=3).digest()
    assert RunSpec.model_validate_json(said.model_dump_json()).digest() == said.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"conversations": 2},
        {"name": "x"},
        {"seed_mode": "question"},
        {"seed": 1},
        {"simulator": {"profile": "roleplay"}},
        {"respondent": {"profile": "chat"}},
        {"simulator": {"profile": "socratic", "instruction": "Be {persona}."}},
        {"endings": {"extra_turns": 2}},
        {"simulator": {"profile": "socratic", "endpoints": ["http://a/v1"]}},
        {"respondent": {"profile": "platolm", "sampling": {"temperature": 0.1}}},
        {"respondent": {"profile": "platolm", "system_prompt": "Be brief."}},
        {"endings": {"stop_phrases": ["bye"]}},
        {"retries": {"regenerations": 4}},
        {"limits": {"in_flight": 8}},
        {"limits": {"realism": {"repeats": {"at_most": 0.5}}}},
        {"output": {"format": "parquet"}},
    ],
    ids=str,
)
def test_another_spec_has_another_digest(change: dict[str, object]) -> None:
    digest = RunSpec.model_validate({"conversations": 1, **change}).digest()
    assert len(digest) == 64
    assert digest != RunSpec(conversations=1).digest()


@pytest.mark.parametrize(
    ("repeats", "num_seeds", "positions"),
    [
        (1, 3, [0, 1, 2, 0, 1, 2, 0]),
        (1, 1, [0] * 7),
        (3, 2, [0, 0, 0, 1, 1, 1, 0]),
        (7, 2, [0] * 7),
        (2, 10, [0, 0, 1, 1, 2, 2, 3]),
    ],
)
def test_which_seed_a_conversation_starts_from(repeats: int, num_seeds: int, positions: list[int]) -> None:
    spec = RunSpec(conversations=7, repeats=repeats)
    assert [seed_position(index, spec, num_seeds) for index in range(7)] == positions


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"conversations": 0}, ("conversations",), "greater than or equal to 1"),
        ({"conversations": 1, "colour": "red"}, ("colour",), "Extra inputs are not permitted"),
        ({"conversations": 1, "seed": 2**63}, ("seed",), "less than"),
        ({"conversations": 1, "seed": -1}, ("seed",), "greater than or equal to 0"),
        (
            {"conversations": 1, "simulator": {"profile": "sock"}},
            ("simulator", "profile"),
            "'sock' is no profile; there are socratic, ",
        ),
        (
            {"conversations": 1, "simulator": {"profile": "socratic", "endpoints": []}},
            ("simulator", "endpoints"),
            "at least 1 item",
        ),
        (
            {"conversations": 1, "simulator": {"profile": "socratic", "endpoints": ["ftp://a/v1"]}},
            ("simulator", "endpoints", 0),
            "should match pattern",
        ),
        *(  # a comma separates them where a pool is named
            (
                {"conversations": 1, "simulator": {"profile": "socratic", "endpoints": ["http://a/v1", url]}},
                ("simulator", "endpoints", 1),
                "should match pattern",
            )
            for url in ("http://b,http://c/v1", "http://b/v1,http://c/v1", "http://b/v1,")
        ),
        (
            {"conversations": 1, "respondent": {"profile": "platolm", "sampling": {"temperature": 2.1}}},
            ("respondent", "sampling", "temperature"),
            "less than or equal to 2",
        ),
        (
            {"conversations": 1, "respondent": {"profile": "platolm", "sampling": {"top_p": float("nan")}}},
            ("respondent", "sampling", "top_p"),
            "less than or equal to 1",
        ),
        ({"conversations": 1, "endings": {"min_turns": 5, "max_turns": 4}}, ("endings",), "min_turns 5 is above"),
        ({"conversations": 1, "endings": {"stop_phrases": [" "]}}, ("endings", "stop_phrases", 0), "match pattern"),
        ({"conversations": 1, "output": {"url": "/etc"}}, ("output", "url"), "should match pattern"),
        ({"conversations": 1, "limits": {"dead": 0}}, ("limits", "dead"), "greater than or equal to 1"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_place(
    fields: dict[str, object], path: tuple[str | int, ...], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate(fields)
    [error] = caught.value.errors()
    assert error["loc"] == path
    assert said in error["msg"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {"conversations": -1, "repeats": 0, "endings": {"context_tokens": 1}, "retries": {"attempts": 0}}
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate(wrong)
    assert {error["loc"] for error in caught.value.errors()} == {
        ("conversations",),
        ("repeats",),
        ("endings", "context_tokens"),
        ("retries", "attempts"),
    }


# profiles


def side_problem(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate({"conversations": 1, **fields})
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"simulator": {"profile": "platolm"}}, "platolm is no simulator's profile; there are socratic, "),
        ({"respondent": {"profile": "userlm"}}, "userlm is no respondent's profile; there are platolm, chat"),
        ({"simulator": {"profile": "userlm", "instruction": "Be {name}."}}, "{name} is not a field"),
        ({"simulator": {"profile": "userlm", "instruction": "Be {"}}, "a brace stands alone"),
        ({"respondent": {"profile": "chat", "instruction": "Be brief."}}, "tell chat a system_prompt"),
    ],
)
def test_a_side_is_of_its_kind(fields: dict[str, object], said: str) -> None:
    assert said in side_problem(**fields)


@pytest.mark.parametrize("name", [*SIMULATORS, *RESPONDENTS])
def test_every_profile_is_in_the_schema(name: str) -> None:
    assert name in SideSpec.model_json_schema()["properties"]["profile"]["enum"]
    assert speaker_profile(name).name == name
    assert speaker_profile(name).role == ("user" if name in SIMULATORS else "assistant")


def test_sampling_is_written_out() -> None:
    """So that a record tells what was sampled, and a profile whose defaults change does not change a run."""
    given = Sampling(top_p=0.5)
    userlm = SideSpec(profile="userlm", sampling=given)
    assert userlm.sampling == Sampling(**{**PAPERS_SAMPLING, "temperature": 1.0, "top_p": 0.5})
    assert SideSpec(profile="osim", sampling=given).sampling == given
    assert SideSpec.model_validate_json(userlm.model_dump_json()) == userlm
    assert RunSpec(conversations=1).simulator.sampling == Sampling(**PAPERS_SAMPLING)


def test_a_spec_of_before_there_were_profiles_is_read() -> None:
    sampling = {
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": 512,
    }
    side = {"endpoints": None, "model": None, "system_prompt": None, "sampling": sampling}
    endings = {"context_tokens": 2048, "min_turns": 0, "max_turns": None, "user_ended": True, "repetition": True}
    sides = {"simulator": {"profile": "socratic", **side}, "respondent": {"profile": "platolm", **side}}
    assert RunSpec.model_validate({"conversations": 3, **sides, "endings": endings}) == RunSpec(conversations=3)


@pytest.mark.parametrize(
    ("mode", "side", "seeds", "said"),
    [
        (SeedMode.FREE, {}, [], "userlm has to be told intent or goal: seed_mode free gives none"),
        (SeedMode.QUESTION, {}, [WHOLE], "userlm has to be told intent or goal: seed_mode question gives none"),
        (SeedMode.INTENT, {}, [WHOLE, Seed(persona="shy")], r"seeds\[1\] gives none"),
        (SeedMode.INTENT, {}, [WHOLE, Seed(goal="a cake")], None),
        (SeedMode.FREE, {"system_prompt": "You want a cake."}, [], None),
        (SeedMode.FREE, {"instruction": "You want a cake."}, [], None),
    ],
)
def test_a_simulator_has_to_know_its_user(
    mode: SeedMode, side: dict[str, str], seeds: list[Seed], said: str | None
) -> None:
    spec = RunSpec(conversations=1, seed_mode=mode, simulator=SideSpec(profile="userlm", **side))
    with pytest.raises(ValidationError, match=said) if said else nullcontext():
        RunRequest(spec=spec, seeds=seeds)


def test_only_the_simulator_is_told_of_its_user() -> None:
    seed = Seed(intent="a", goal="b", persona="c", profile="d", question="e")
    told = Told(system_prompt="s", instruction="{goal}", intent="a", goal="b", persona="c", profile="d")
    side = SideSpec(profile="userlm", system_prompt="s", instruction="{goal}")
    assert told_of(side, seed, SeedMode.INTENT) == told
    assert told_of(side, seed, SeedMode.QUESTION) == Told(system_prompt="s", instruction="{goal}")
    assert told_of(SideSpec(profile="chat", system_prompt="s"), seed, SeedMode.INTENT) == Told(system_prompt="s")
