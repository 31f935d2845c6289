"""Tokens of a conversation: what is generated, read, found in the cache, reserved."""

from __future__ import annotations

import math

import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.sizing.load import Dialogue, measured_loads, side_load
from tests.unit.benchmarks.records import record, turn


def test_later_prompts_find_whole_blocks_of_what_was_computed() -> None:
    load = side_load([(100, 20), (150, 30), (220, 10)], block_tokens=16)
    assert (load.utterances, load.prompt, load.generated) == (3, 470, 60)
    # 119 and 179 tokens were computed: 7 and 11 whole blocks.
    assert load.prefilled == 470 - 7 * 16 - 11 * 16
    assert load.reserved == math.ceil(1.25 * (120 + 180 + 230) / 3)


def test_without_hits_everything_is_read() -> None:
    load = side_load([(100, 20), (150, 30)], 16, hit_share=0.0)
    assert load.prefilled == load.prompt == 250


def test_of_means_half_a_block_is_lost() -> None:
    load = side_load([(100, 20), (150, 30)], 16, are_means=True)
    assert load.prefilled == pytest.approx(250 - (119 - 7.5))


def test_prompts_grow_by_what_both_said() -> None:
    loads = Dialogue(2, user_tokens=10, assistant_tokens=40, opening_tokens=30, framing_tokens=5).loads(
        {USER: 1, ASSISTANT: 1}
    )
    user, assistant = loads[USER], loads[ASSISTANT]
    assert (user.utterances, user.generated, user.prompt) == (2, 20, 30 + (30 + 60))
    assert (assistant.generated, assistant.prompt) == (80, 45 + (45 + 60))
    assert user.prefilled == user.prompt - 39
    assert user.context == (120 + 10) / 2


def test_a_mean_between_two_numbers_of_rounds_lies_between_them() -> None:
    blocks = {USER: 16, ASSISTANT: 16}
    two, half, three = (Dialogue(rounds, 20, 40).loads(blocks)[USER].prompt for rounds in (2, 2.5, 3))
    assert half == pytest.approx((two + three) / 2)


def test_a_dataset_gives_the_means_of_its_conversations() -> None:
    blocks = {USER: 16, ASSISTANT: 16}
    one = record(0, [turn(USER, 20, [1] * 9), turn(ASSISTANT, 40, [1] * 30, "length")], ["a", "b"])
    other = record(1, [turn(USER, 20, [1] * 19), turn(ASSISTANT, 50, [1] * 10, "length")], ["a", "b"])
    loads = measured_loads([one, other], blocks)
    assert loads[USER].generated == (10 + 20) / 2, "an utterance that ended by itself has an end token"
    assert loads[ASSISTANT].generated == 20
    assert loads[ASSISTANT].prompt == 45


def test_given_turns_ask_nothing_of_engines() -> None:
    given = turn(USER, 0, [1] * 9)
    with pytest.raises(InputError, match="both sides"):
        measured_loads([record(0, [given, turn(ASSISTANT, 40, [1])], ["a", "b"])], {USER: 16, ASSISTANT: 16})
