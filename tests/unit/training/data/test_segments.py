"""Splitting long conversations: by hand on small ones, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER
from platolm.dyadic import PLATOLM, PROFILES, SOCRATIC, DyadicProfile, Turn, compose
from platolm.tokenizer import HubTokenizer
from training.data.segments import Frame, Segment, cut_at_limit, frame_of, segments_of

FRAME = Frame(openings={USER: 10, ASSISTANT: 12, "tool": 11}, names={USER: 2, ASSISTANT: 4, "tool": 3})
"""A header of eight tokens; a turn takes its name, its ids, a bos and an eos."""


def turns(*said: tuple[str, int]) -> list[Turn]:
    """Turns of so many tokens; ids say which turn (hundreds) and which of its tokens."""
    return [
        Turn(role, f"turn {i}", [100 * i + n for n in range(num_tokens)]) for i, (role, num_tokens) in enumerate(said)
    ]


def shapes(segments: Sequence[Segment]) -> list[list[str]]:
    """Each turn as its number, `*` where it is learned, `-N` where only its last N tokens are there."""
    return [[_shape(turn) for turn in segment.turns] for segment in segments]


def _shape(turn: Turn) -> str:
    ids = list(turn.content_ids or ())
    number, offset = divmod(ids[0], 100)
    return f"{number}{f'-{len(ids)}' if offset else ''}{'*' if turn.in_loss and turn.role == USER else ''}"


def split(said: list[Turn], max_length: int, targets: frozenset[str] = frozenset({USER})) -> list[Segment]:
    return list(segments_of(said, targets, FRAME, max_length))


def test_lengths_are_those_of_the_composed_row() -> None:
    said = turns((ASSISTANT, 5), (USER, 7), ("tool", 1))
    assert FRAME.length(said) == (12 + 5 + 2) + (2 + 7 + 2) + (3 + 1 + 2)
    assert FRAME.length([]) == 0


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("system", [(), (Turn(SYSTEM, "Be kind."), Turn(SYSTEM, "Be brief."))])
def test_a_frame_measures_what_compose_writes(
    demo_tokenizer: HubTokenizer, profile: DyadicProfile, system: tuple[Turn, ...]
) -> None:
    said = [Turn(role, "x", [50, 51]) for role in (ASSISTANT, USER, "tool", USER)]
    frame = frame_of({turn.role for turn in said}, profile, demo_tokenizer, system)
    for begin in range(len(said)):
        row = compose([*system, *said[begin:]], profile, demo_tokenizer)
        assert frame.length(said[begin:]) == len(row.input_ids)
        assert frame.openings[said[begin].role] == row.input_ids.index(demo_tokenizer.bos_id, 1)


def test_a_conversation_that_fits_is_one_segment_as_it_is() -> None:
    said = turns((ASSISTANT, 3), (USER, 5), (ASSISTANT, 6), (USER, 7), (ASSISTANT, 500))
    (segment,) = split(said, max_length=FRAME.length(said[:4]))
    assert shapes([segment]) == [["0", "1*", "2", "3*", "4"]]
    assert (segment.first_turn, segment.num_cut, segment.num_shortened) == (0, 0, 0)


def test_one_token_less_makes_two_segments_with_context() -> None:
    said = turns((USER, 5), (ASSISTANT, 6), (USER, 7), (ASSISTANT, 8), (USER, 9))
    segments = split(said, max_length=FRAME.length(said) - 1)
    assert shapes(segments) == [["0*", "1", "2*"], ["3", "4*"]]
    assert [segment.first_turn for segment in segments] == [0, 2]


def test_context_is_whole_turns_up_to_a_quarter_from_a_user_turn_on() -> None:
    said = turns(*[(USER, 6), (ASSISTANT, 6)] * 8)
    segments = split(said, max_length=120)
    # A user turn takes 10, an assistant turn 12, a quarter is 30: [assistant, user, assistant] would be 34.
    assert shapes(segments) == [
        ["0*", "1", "2*", "3", "4*", "5", "6*", "7", "8*"],
        ["8", "9", "10*", "11", "12*", "13", "14*", "15"],
    ]
    assert [segment.first_turn for segment in segments] == [0, 5]


def test_the_turn_right_before_a_target_stays_even_beyond_a_quarter() -> None:
    said = turns((USER, 5), (ASSISTANT, 60), (USER, 10))
    segments = split(said, max_length=94)
    assert shapes(segments) == [["0*"], ["1", "2*"]]
    assert segments[1].num_shortened == 0


def test_a_context_turn_that_does_not_fit_beside_the_target_keeps_its_end() -> None:
    said = turns((USER, 5), (ASSISTANT, 90), (USER, 10))
    segments = split(said, max_length=60)
    assert shapes(segments) == [["0*"], ["1-32", "2*"]]
    assert FRAME.length(segments[1].turns) == 60
    assert list(segments[1].turns[0].content_ids or ()) == list(range(158, 190))
    assert (segments[1].num_shortened, segments[1].num_cut) == (1, 0)


def test_context_before_the_first_target_is_shortened_too() -> None:
    segments = split(turns((ASSISTANT, 90), (USER, 10), (ASSISTANT, 1)), max_length=60)
    assert shapes(segments) == [["0-32", "1*", "2"]]
    assert segments[0].num_shortened == 1


def test_context_before_the_first_target_is_whole_where_it_just_fits() -> None:
    said = turns((ASSISTANT, 20), (ASSISTANT, 20), (USER, 10))
    assert shapes(split(said, max_length=FRAME.length(said))) == [["0", "1", "2*"]]
    assert shapes(split(said, max_length=FRAME.length(said) - 1)) == [["1", "2*"]]


def test_context_that_leaves_no_room_is_left_out_and_counted() -> None:
    segments = split(turns((USER, 5), (ASSISTANT, 50), (USER, 46)), max_length=60)
    assert shapes(segments) == [["0*"], ["2*"]]
    assert segments[1].num_shortened == 1


def test_a_target_that_fits_nowhere_is_cut_after_a_quarter_of_context() -> None:
    said = turns((USER, 5), (ASSISTANT, 90), (USER, 99), (ASSISTANT, 3), (USER, 4))
    segments = split(said, max_length=60)
    assert shapes(segments) == [["0*"], ["1-15", "2*"], ["3", "4*"]]
    assert [(segment.num_cut, segment.num_shortened) for segment in segments] == [(0, 0), (1, 1), (0, 0)]
    assert [segment.first_turn for segment in segments] == [0, 1, 2]


def test_turns_of_one_role_in_a_row_are_each_learned_once() -> None:
    segments = split(turns((USER, 20), (USER, 20), (USER, 20)), max_length=60)
    assert shapes(segments) == [["0*", "1*"], ["1", "2*"]]


def test_cutting_instead_of_splitting_counts_what_is_lost() -> None:
    said = turns((USER, 5), (ASSISTANT, 6), (USER, 7), (ASSISTANT, 3), (USER, 8))
    targets = frozenset({USER})
    begin = FRAME.length(said[:2]) + FRAME.names[USER]
    outcomes = {
        max_length: cut_at_limit(said, targets, FRAME, max_length)
        for max_length in (FRAME.length(said), FRAME.length(said) - 1, begin + 1, begin)
    }
    assert [(s.num_cut, s.num_lost) for s in outcomes.values()] == [(0, 0), (1, 0), (1, 1), (0, 2)]
    assert all(segment.turns == said for segment in outcomes.values())


ROLES = st.sampled_from([USER, ASSISTANT, "tool"])
SIZES = st.one_of(st.integers(0, 12), st.integers(0, 90))
SAID = st.lists(st.tuples(ROLES, SIZES), min_size=1, max_size=14)
TARGETS = st.sampled_from([frozenset({USER}), frozenset({ASSISTANT}), frozenset({USER, ASSISTANT})])
SPLITS = {"said": SAID, "targets": TARGETS, "max_length": st.integers(16, 120)}


@settings(deadline=None, max_examples=400)
@given(**SPLITS)
def test_every_target_is_learned_once_and_whole_or_cut(
    said: list[tuple[str, int]], targets: frozenset[str], max_length: int
) -> None:
    all_turns = turns(*said)
    segments = list(segments_of(all_turns, targets, FRAME, max_length))
    learned = [t for segment in segments for t in segment.turns if t.role in targets and t.in_loss]
    assert learned == [t for t in all_turns if t.role in targets]
    num_before = 0
    for segment in segments:
        assert segment.first_turn == num_before
        num_before += sum(t.role in targets and t.in_loss for t in segment.turns)


@settings(deadline=None, max_examples=400)
@given(**SPLITS)
def test_targets_lie_within_the_row_and_context_is_small(
    said: list[tuple[str, int]], targets: frozenset[str], max_length: int
) -> None:
    all_turns = turns(*said)
    for segment in segments_of(all_turns, targets, FRAME, max_length):
        at = [i for i, turn in enumerate(segment.turns) if turn.role in targets and turn.in_loss]
        begin = FRAME.length(segment.turns[: at[0] + 1]) - len(segment.turns[at[0]].content_ids or ()) - 2
        assert begin + 2 <= max_length
        is_cut = FRAME.length(segment.turns[: at[-1] + 1]) > max_length
        assert segment.num_cut == is_cut
        if is_cut:
            assert len(at) == 1
            assert FRAME.length([segment.turns[at[0]]]) > max_length
        context = segment.turns[: at[0]]
        if segment.first_turn and len(context) > 1:
            assert sum(map(FRAME.size, context)) <= max_length // 4
            assert context[0].role == USER or all(turn.role != USER for turn in context)


@settings(deadline=None, max_examples=400)
@given(**SPLITS)
def test_context_is_what_came_right_before(
    said: list[tuple[str, int]], targets: frozenset[str], max_length: int
) -> None:
    all_turns = turns(*said)
    for segment in segments_of(all_turns, targets, FRAME, max_length):
        contents = [turn.content for turn in segment.turns]
        first = int(contents[0].removeprefix("turn "))
        assert contents == [f"turn {i}" for i in range(first, first + len(contents))]
        for turn in segment.turns:
            whole = list(all_turns[int(turn.content.removeprefix("turn "))].content_ids or ())
            assert whole[len(whole) - len(turn.content_ids or ()) :] == list(turn.content_ids or ())


def test_headers_too_long_for_a_turn_are_seen() -> None:
    assert FRAME.holds({USER}, 12)
    assert not FRAME.holds({USER}, 11)
    assert not FRAME.holds({USER, ASSISTANT}, 13)
    assert FRAME.holds({"somebody else"}, 1)


def test_work_grows_with_the_conversation_and_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: how often a turn's size is asked for."""
    asked = 0
    size = Frame.size

    def counted(self: Frame, turn: Turn) -> int:
        nonlocal asked
        asked += 1
        return size(self, turn)

    monkeypatch.setattr(Frame, "size", counted)
    per_turn = []
    for num_rounds in (100, 1000):
        asked = 0
        said = [Turn(role, "", [7] * 20) for role in (USER, ASSISTANT) * num_rounds]
        assert len(list(segments_of(said, frozenset({USER}), FRAME, 400))) > num_rounds // 10
        per_turn.append(asked / len(said))
    assert per_turn[1] == pytest.approx(per_turn[0], rel=0.1)
    assert per_turn[1] < 4


def test_both_profiles_open_with_their_own_header(demo_tokenizer: HubTokenizer) -> None:
    frames = [frame_of((USER,), profile, demo_tokenizer) for profile in (SOCRATIC, PLATOLM)]
    assert frames[0].openings[USER] > frames[1].openings[USER] > 30
    assert frames[0].names == frames[1].names == {USER: 4}
