"""What a run is likely to cost, against sums made by hand."""

from __future__ import annotations

import pytest

from platolm.chat_apis.estimate import dearest, estimate_cost
from platolm.chat_apis.prices import FREE, Prices
from platolm.conversation import ASSISTANT, USER
from platolm.sampling import Sampling
from platolm.seed_modes import GivenTurn
from platolm.spec import Endings, RunSpec, Seed, SeedMode, SideSpec

PRICES = Prices(input=1, cached_input=0.1, output=4)  # 1000 and 4000 billionths a token


def spec(**fields: object) -> RunSpec:
    return RunSpec.model_validate({"conversations": 10, **fields})


def test_a_respondent_in_a_small_context() -> None:
    """1000 tokens hold two rounds of 200 + 200; prompts of the respondent: 200, then 600."""
    estimate = estimate_cost(spec(endings=Endings(context_tokens=1000)), [], {ASSISTANT: PRICES})
    assert estimate.likely_nanos == 10 * (800 * 1000 + 400 * 4000)


def test_both_sides() -> None:
    """Prompts of the simulator: 0, then 400."""
    respondent = estimate_cost(spec(endings=Endings(context_tokens=1000)), [], {ASSISTANT: PRICES})
    both = estimate_cost(spec(endings=Endings(context_tokens=1000)), [], {ASSISTANT: PRICES, USER: PRICES})
    assert both.likely_nanos - respondent.likely_nanos == 10 * (400 * 1000 + 400 * 4000)


def test_the_range_is_of_shorter_and_longer_utterances() -> None:
    """Half as long: five rounds, prompts 100, 300, ..., 900. Twice as long: one round, a prompt of 400."""
    estimate = estimate_cost(spec(endings=Endings(context_tokens=1000)), [], {ASSISTANT: PRICES})
    assert estimate.high_nanos == 10 * (2500 * 1000 + 500 * 4000)
    assert estimate.low_nanos == 10 * (400 * 1000 + 400 * 4000)


def test_turns_and_max_tokens_bound_it() -> None:
    """One round of at most 50 tokens each: a prompt of 50, an answer of 50."""
    short = SideSpec(profile="platolm", sampling=Sampling(max_tokens=50))
    run = spec(
        endings=Endings(context_tokens=100_000, max_turns=3),
        respondent=short,
        simulator=SideSpec(profile="socratic", sampling=Sampling(max_tokens=50)),
    )
    estimate = estimate_cost(run, [], {ASSISTANT: PRICES})
    assert estimate.low_nanos == estimate.likely_nanos == estimate.high_nanos == 10 * (50 * 1000 + 50 * 4000)


def test_what_is_told_and_given_counts_in_every_prompt() -> None:
    """A seed's question of 30 letters is 10 tokens, the system prompt's 60 are 20."""
    run = spec(
        endings=Endings(context_tokens=1000, max_turns=2),
        seed_mode=SeedMode.QUESTION,
        respondent=SideSpec(profile="platolm", system_prompt="s" * 60),
    )
    seeds = [Seed(question="q" * 30), Seed(question="q" * 30)]
    estimate = estimate_cost(run, seeds, {ASSISTANT: PRICES}, utterance_tokens=100)
    assert estimate.likely_nanos == 10 * ((30 + 100) * 1000 + 100 * 4000)


def test_there_is_a_round_at_least() -> None:
    assert estimate_cost(spec(endings=Endings(context_tokens=16)), [], {ASSISTANT: PRICES}).low_nanos > 0


def test_it_says_what_it_rests_on() -> None:
    estimate = estimate_cost(spec(endings=Endings(context_tokens=1000, max_turns=4)), [], {ASSISTANT: PRICES})
    assert str(estimate) == (
        "about 0.0240 (0.0120 to 0.0240), with 10 conversations of 2 rounds, within 1000 tokens and 4 turns; "
        "200 tokens a question and 200 an answer; nothing from the APIs' caches, and nothing made twice"
    )


def test_what_costs_nothing() -> None:
    assert estimate_cost(spec(), [], {ASSISTANT: FREE}).high_nanos == 0
    assert estimate_cost(spec(), [], {}).high_nanos == 0


def test_a_price_that_is_not_known_is_no_price() -> None:
    with pytest.raises(ValueError, match="the prices of the assistant and the user are not known"):
        estimate_cost(spec(), [], {ASSISTANT: None, USER: None})


def test_of_several_endpoints_the_dearest() -> None:
    prices = [Prices(input=1, output=9), Prices(input=2, cached_input=0, output=3)]
    assert dearest(prices) == Prices(input=2, output=9)
    assert dearest([*prices, None]) is None
    assert dearest([]) is None


@pytest.mark.parametrize(("context_tokens", "rounds"), [(1000, 2), (150, 1)])
def test_questions_that_are_answered_again(context_tokens: int, rounds: int) -> None:
    """Of 10 tokens each, answers of 100; prompts of 10 and 120. The simulator is asked nothing."""
    run = spec(endings=Endings(context_tokens=context_tokens), seed_mode=SeedMode.REANSWER)
    seed = Seed(turns=[GivenTurn(role="user", content="q" * 30)] * 2)
    estimate = estimate_cost(run, [seed], {ASSISTANT: PRICES, USER: PRICES}, utterance_tokens=100)
    assert estimate.likely_nanos == 10 * (sum([10, 120][:rounds]) * 1000 + rounds * 100 * 4000)
