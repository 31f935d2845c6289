"""The attainable bound of prefix cache hits."""

from __future__ import annotations

import pytest

from benchmarks.bound import Length, attainable, continued, lengths_by_role, shared
from benchmarks.recorded import RecordedRequest
from platolm.conversation import ASSISTANT, USER


@pytest.mark.parametrize(
    ("prompt", "output", "hits"),
    [(100, 28, 0), (100, 29, 128), (255, 1, 128), (255, 2, 256), (1, 127, 0), (200, 400, 512)],
)
def test_the_last_token_said_is_not_held(prompt: int, output: int, hits: int) -> None:
    assert continued([Length(prompt, output), Length(900, 50)], 128) == hits


def test_only_later_requests_find_something() -> None:
    assert continued([], 16) == 0
    assert continued([Length(500, 500)], 16) == 0
    assert continued([Length(20, 13), Length(60, 5), Length(70, 9)], 16) == 32 + 64


def test_requests_are_told_apart_by_side() -> None:
    conversation = [request(USER, [1], 2), request(ASSISTANT, [1, 2], 3), request(USER, [1, 2, 3], 4)]
    assert lengths_by_role(conversation) == {USER: [Length(1, 2), Length(3, 4)], ASSISTANT: [Length(2, 3)]}


def test_a_shared_beginning_counts_in_whole_blocks_for_all_but_the_first_on_each_replica() -> None:
    prompts = [[*range(35), 100 + n] for n in range(10)]
    assert shared(prompts, 16, 1) == 9 * 32
    assert shared(prompts, 16, 3) == 7 * 32
    assert shared(prompts, 128, 1) == 0


def test_one_token_of_equal_prompts_is_always_read() -> None:
    prompts = [list(range(32))] * 4
    assert shared(prompts, 16, 1) == 3 * 16


def test_few_conversations_share_nothing() -> None:
    assert shared([], 16, 1) == 0
    assert shared([list(range(40))] * 2, 16, 3) == 0


def test_the_bound_adds_up_over_conversations_and_sides() -> None:
    header = list(range(17))
    conversation = [request(USER, header, 20), request(ASSISTANT, [9] * 8, 25), request(USER, [*header, *[5] * 40], 3)]
    within = (17 + 20 - 1) // 16 * 16
    assert attainable([conversation] * 5, 16, 1) == 5 * within + 4 * 16
    assert attainable([conversation] * 5, 16, 2) == 5 * within + 3 * 16


def request(role: str, prompt: list[int], num_output_tokens: int) -> RecordedRequest:
    return RecordedRequest(role, prompt, num_output_tokens, 0)
