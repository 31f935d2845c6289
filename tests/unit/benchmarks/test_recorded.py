"""A run's requests, put together again from its records."""

from __future__ import annotations

import pytest

from benchmarks.recorded import in_order, num_output_tokens, num_prompt_tokens, requests_of
from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, prompt_ids
from platolm.errors import InputError
from platolm.tokenizer import HubTokenizer
from tests.unit.benchmarks.records import record, turn


def test_prompts_hold_a_speakers_own_ids_and_the_others_text(tiny_tokenizer: HubTokenizer) -> None:
    tokenizers = {USER: tiny_tokenizer, ASSISTANT: tiny_tokenizer}
    asked, answered, again = [40, 41], [50, 51, 52], [60]
    first = prompt_ids([], SOCRATIC, tiny_tokenizer)
    second = prompt_ids([Turn(USER, "one")], PLATOLM, tiny_tokenizer)
    third = prompt_ids([Turn(USER, "one", asked), Turn(ASSISTANT, "two")], SOCRATIC, tiny_tokenizer)
    turns = [
        turn(USER, len(first), asked, seed=1),
        turn(ASSISTANT, len(second), answered, "length", seed=2),
        turn(USER, len(third), again, seed=3),
    ]
    requests = requests_of(record(0, turns, ["one", "two", "three"]), tokenizers)
    assert [(r.role, r.prompt, r.num_output_tokens, r.sampling_seed) for r in requests] == [
        (USER, first, 3, 1),
        (ASSISTANT, second, 3, 2),
        (USER, third, 2, 3),
    ]


def test_what_a_seed_gave_is_context_and_no_request(tiny_tokenizer: HubTokenizer) -> None:
    answer_prompt = prompt_ids([Turn(USER, "given")], PLATOLM, tiny_tokenizer)
    turns = [turn(USER, 0, None, "seed"), turn(ASSISTANT, len(answer_prompt), [9])]
    tokenizers = {USER: tiny_tokenizer, ASSISTANT: tiny_tokenizer}
    (request,) = requests_of(record(0, turns, ["given", "answer"]), tokenizers)
    assert request.prompt == answer_prompt


def test_a_prompt_of_another_length_is_refused(tiny_tokenizer: HubTokenizer) -> None:
    length = len(prompt_ids([], SOCRATIC, tiny_tokenizer))
    wrong = record(4, [turn(USER, length + 1, [9])], ["x"])
    with pytest.raises(InputError, match=rf"run-00000004, turn 0: .* {length} tokens .* one of {length + 1} was sent"):
        requests_of(wrong, {USER: tiny_tokenizer, ASSISTANT: tiny_tokenizer})


def test_an_eos_counts_where_a_turn_ended_by_itself() -> None:
    ends = {reason: num_output_tokens(turn(USER, 0, [1, 2], reason)) for reason in ("stop", "length", "context")}
    assert ends == {"stop": 3, "length": 2, "context": 2}


def test_conversations_come_by_index() -> None:
    records = [record(index, [], []) for index in (10, 2, 0)]
    assert [one["index"] for one in in_order(records)] == [0, 2, 10]


def test_prompt_tokens_of_all_requests() -> None:
    turns = [turn(USER, 20, [1]), turn(ASSISTANT, 30, [1])]
    assert num_prompt_tokens([record(0, turns, ["a", "b"]), record(1, turns[:1], ["a"])]) == 70
