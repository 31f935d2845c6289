"""A conversation that is longer than a row becomes several, split between turns; pure functions on token counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from platolm.conversation import USER
from platolm.dyadic import DyadicProfile, Turn, compose
from platolm.tokenizer import TextTokenizer

_CONTEXT_SHARE = 4  # at most a quarter of a row repeats what an earlier one holds
_CONTROL_TOKENS = 2  # a turn's own bos and eos
_LEAST_TURN = 2  # a learned turn's bos and one token: less is no turn


@dataclass(frozen=True)
class Frame:
    """How many tokens the format puts around contents, by role.

    `openings` counts those before the bos of a row's first turn, `names` those before the bos of any other turn.
    """

    openings: Mapping[str, int]
    names: Mapping[str, int]

    def size(self, turn: Turn) -> int:
        """Tokens of a turn that is not the first."""
        return self.names[turn.role] + _CONTROL_TOKENS + len(_ids(turn))

    def length(self, turns: Sequence[Turn]) -> int:
        """Tokens of a whole row."""
        if not turns:
            return 0
        first = turns[0].role
        return self.openings[first] - self.names[first] + sum(map(self.size, turns))

    def holds(self, roles: AbstractSet[str], max_length: int) -> bool:
        """Whether a row has room for a turn of each of these roles at all."""
        return all(self.openings[role] + _LEAST_TURN <= max_length for role in roles & self.openings.keys())


@dataclass(frozen=True)
class Segment:
    """One row's turns, each with its ids; `first_turn` learned turns of the conversation came in earlier segments."""

    turns: Sequence[Turn]
    first_turn: int = 0
    num_cut: int = 0
    num_lost: int = 0
    num_shortened: int = 0


def frame_of(
    roles: Iterable[str], profile: DyadicProfile, tokenizer: TextTokenizer, system: Sequence[Turn] = ()
) -> Frame:
    """Measured on `compose` itself, so that the format has one owner."""

    def measured(*turns: Turn) -> int:
        return len(compose([*system, *turns], profile, tokenizer).input_ids)

    openings, names = {}, {}
    for role in roles:
        empty = Turn(role, "", ())
        openings[role] = measured(empty) - _CONTROL_TOKENS
        names[role] = measured(empty, empty) - measured(empty) - _CONTROL_TOKENS
    return Frame(openings, names)


def segments_of(turns: Sequence[Turn], targets: AbstractSet[str], frame: Frame, max_length: int) -> Iterator[Segment]:
    """Segments of at most `max_length` tokens once they are composed and cut there.

    Every turn of a role in `targets` is learned in exactly one segment. A later segment begins with turns that were
    there before, not learned again: whole ones up to a quarter of the row, from a user turn on where there is one, and
    at least the turn right before the first new target; of that one only the end is kept where the target would not
    fit beside it. A target that does not even fit alone is cut at `max_length`.

    Args:
        turns: spoken turns with their ids, at least one of them of a role in `targets`.
        frame: must hold every role of `turns`, and `holds(targets, max_length)`.
    """
    positions = [position for position, turn in enumerate(turns) if turn.role in targets]
    done = 0
    while done < len(positions):
        first = positions[done]
        context = _context(turns, first, frame, max_length, at_start=done == 0)
        length = frame.length([*context, turns[first]])
        end, num_learned = _reach(turns, first, targets, frame, max_length - length)
        if done + num_learned == len(positions):
            end = len(turns)
        yield Segment(
            [*(replace(turn, in_loss=False) for turn in context), *turns[first:end]],
            first_turn=done,
            num_cut=int(length > max_length),
            num_shortened=int(first > 0 and _is_shortened(context, turns[first - 1])),
        )
        done += num_learned


def cut_at_limit(turns: Sequence[Turn], targets: AbstractSet[str], frame: Frame, max_length: int) -> Segment:
    """The whole conversation as one segment, for `compose` to cut at `max_length`."""
    num_cut = num_lost = 0
    end = frame.length(turns[:1]) - (frame.size(turns[0]) if turns else 0)
    for turn in turns:
        begin = end + frame.names[turn.role]
        end += frame.size(turn)
        if turn.role in targets:
            num_lost += begin >= max_length
            num_cut += begin < max_length < end
    return Segment(turns, num_cut=num_cut, num_lost=num_lost)


def _reach(turns: Sequence[Turn], first: int, targets: AbstractSet[str], frame: Frame, room: int) -> tuple[int, int]:
    """One past the last target that fits after the one at `first`, and how many targets from there on are within."""
    end, num_learned = first + 1, 1
    for position in range(first + 1, len(turns)):
        room -= frame.size(turns[position])
        if room < 0:
            break
        if turns[position].role in targets:
            end, num_learned = position + 1, num_learned + 1
    return end, num_learned


def _context(turns: Sequence[Turn], first: int, frame: Frame, max_length: int, *, at_start: bool) -> Sequence[Turn]:
    """What stands before the first new target."""
    if first == 0:
        return []
    if at_start and frame.length(turns[: first + 1]) <= max_length:
        return turns[:first]
    begin = _context_begin(turns, first, frame, max_length)
    if begin < first:
        return turns[begin:first]
    return _end_of(turns[first - 1], turns[first], frame, max_length)


def _context_begin(turns: Sequence[Turn], first: int, frame: Frame, max_length: int) -> int:
    """Where whole turns of at most a quarter of the row begin; `first` where none fits."""
    begin, size = first, 0
    while begin > 0:
        turn = turns[begin - 1]
        size += frame.size(turn)
        header = frame.openings[turn.role] - frame.names[turn.role]
        if size > max_length // _CONTEXT_SHARE or header + size + frame.size(turns[first]) > max_length:
            break
        begin -= 1
    return next((position for position in range(begin, first) if turns[position].role == USER), begin)


def _end_of(turn: Turn, target: Turn, frame: Frame, max_length: int) -> list[Turn]:
    """The turn before a target, or as much of its end as fits beside the target; nothing where nothing does."""
    opening = frame.openings[turn.role] + _CONTROL_TOKENS
    room = max_length - opening - frame.size(target)
    if frame.length([target]) > max_length:  # it is cut anyway, and needs to begin
        room = min(max_length // _CONTEXT_SHARE, max_length - opening - frame.names[target.role] - _LEAST_TURN)
    kept = _ids(turn)[-room:] if room > 0 else ()
    return [replace(turn, content_ids=kept)] if kept else []


def _is_shortened(context: Sequence[Turn], previous: Turn) -> bool:
    return not context or len(_ids(context[-1])) < len(_ids(previous))


def _ids(turn: Turn) -> Sequence[int]:
    assert turn.content_ids is not None, "turns come with their ids"
    return turn.content_ids
