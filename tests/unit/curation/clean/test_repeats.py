"""Duplicates over all chunks: the first in the input stays, and where chunks end says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curation.clean.chunks import Cleaned, Verdicts
from curation.clean.duplicates import digest_of, signatures_of
from curation.clean.repeats import Repeats
from curation.clean.settings import CleanSettings, StageName
from platolm.conversation import USER, Message
from tests.unit.curation.clean.records import prose

EXACT, NEAR = StageName.EXACT_DUPLICATES, StageName.NEAR_DUPLICATES
BOTH = frozenset({EXACT, NEAR})

TEXTS = [prose(0), prose(1), prose(0), prose(0) + " Indeed.", prose(2), prose(1), prose(1) + " Indeed.", prose(2)]


def cleaned(number: int, start: int, texts: Sequence[str], stages: frozenset[StageName]) -> Cleaned:
    dialogues = [[Message(USER, text)] for text in texts]
    digests = [digest_of(dialogue) for dialogue in dialogues] if EXACT in stages else []
    signatures = signatures_of(dialogues).tobytes() if NEAR in stages else b""
    return Cleaned(number, [], [f"d{start + n}" for n in range(len(texts))], digests, signatures)


def found(
    tmp_path: Path, sizes: Sequence[int], texts: Sequence[str] = TEXTS, stages: frozenset[StageName] = BOTH
) -> list[Verdicts]:
    repeats = Repeats(CleanSettings(stages=stages), tmp_path)
    start = 0
    for number, size in enumerate(sizes):
        repeats.add(cleaned(number, start, texts[start : start + size], stages))
        start += size
    assert start == len(texts)
    assert repeats.num_chunks == len(sizes)
    return list(repeats.verdicts())


def positions(verdicts: Sequence[Verdicts], sizes: Sequence[int], name: StageName) -> dict[int, str]:
    """By position among all dialogues, which earlier one is repeated."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return {
        starts[one.number] + position: why.detail.partition(",")[0]
        for one in verdicts
        for position, why in one.dropped[name].items()
    }


def test_the_first_stays_wherever_chunks_end(tmp_path: Path) -> None:
    for sizes in ([8], [1] * 8, [3, 5], [2, 0, 4, 2], [7, 1]):
        verdicts = found(tmp_path, sizes)
        assert [one.number for one in verdicts] == list(range(len(sizes)))
        assert positions(verdicts, sizes, EXACT) == {2: "d0", 5: "d1", 7: "d4"}
        assert positions(verdicts, sizes, NEAR) == {3: "d0", 6: "d1"}


def test_an_exact_repeat_is_found_as_a_near_one_where_only_those_are_looked_for(tmp_path: Path) -> None:
    verdicts = found(tmp_path, [8], stages=frozenset({NEAR}))
    assert positions(verdicts, [8], NEAR) == {2: "d0", 3: "d0", 5: "d1", 6: "d1", 7: "d4"}
    assert list(verdicts[0].dropped) == [NEAR]


def test_only_exact_ones(tmp_path: Path) -> None:
    verdicts = found(tmp_path, [3, 5], stages=frozenset({EXACT}))
    assert [dict(one.dropped) for one in verdicts] == [
        {EXACT: {2: verdicts[0].dropped[EXACT][2]}},
        {EXACT: {2: verdicts[1].dropped[EXACT][2], 4: verdicts[1].dropped[EXACT][4]}},
    ]
    assert verdicts[0].dropped[EXACT][2].reason == "repeats an earlier dialogue"


def test_neither(tmp_path: Path) -> None:
    assert [dict(one.dropped) for one in found(tmp_path, [8], stages=frozenset())] == [{}]


def test_how_similar_is_told(tmp_path: Path) -> None:
    (verdict,) = found(tmp_path, [8])
    assert verdict.dropped[NEAR][3].reason == "nearly repeats an earlier dialogue"
    assert verdict.dropped[NEAR][3].detail.startswith("d0, similarity 0.9")


def test_another_bound_finds_others(tmp_path: Path) -> None:
    texts = [prose(3, 60), prose(3, 60).replace("river", "stream"), prose(4, 60)]
    for similarity, expected in ((0.95, 0), (0.3, 1)):
        repeats = Repeats(CleanSettings(stages=BOTH, similarity=similarity), tmp_path)
        repeats.add(cleaned(0, 0, texts, BOTH))
        (verdict,) = repeats.verdicts()
        assert len(verdict.dropped[NEAR]) == expected


def test_nothing_at_all(tmp_path: Path) -> None:
    assert found(tmp_path, [], []) == []
    assert [dict(one.dropped) for one in found(tmp_path, [0], [])] == [{EXACT: {}, NEAR: {}}]
