"""A dataset's statistics: the same whatever the number of processes, in memory that does not grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation.stats import parts
from curation.stats.counting import MAX_NAMES, OTHERS, Counted, Counting, count
from curation.stats.figures import LENGTH_CAP
from curation.stats.intervals import Estimate
from curation.stats.measuring import StatsSettings, beside, counted_parts, measure, statistics_of
from curation.stats.parts import UnpackedLines, parts_of
from platolm.errors import InputError, PlatoLMError
from tests.unit.curation.stats.records import ends, record, varied, written

ALONE = StatsSettings(processes=1)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return written(tmp_path / "many.jsonl", [varied(number) for number in range(400)])


def test_figures_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "two.jsonl", [
        record("1", "tell me a story", "no", "tell me a story", "fine", termination_reason="empty"),
        "{",
        record("2", "why?", "because of that", termination_reason="empty"),
        {"id": "3"},
        "{",
    ])  # fmt: skip
    found = statistics_of([path], ALONE)
    assert (found.name, found.conversations, found.sample) == ("two.jsonl", 2, 2)
    assert found.figures["rounds"].value == 1.5
    assert found.figures["repeats"].value == pytest.approx(100 / 3)
    assert found.figures["first_turn_diversity"].value == 100
    assert found.figures["first_turn_diversity"].sampled
    assert sorted(found.unreadable.values()) == [1, 2]
    assert found.endings == {"empty": 2}
    assert found.user_lengths == {1: 1, 4: 2}
    assert found.figures["human_likeness"].lacking
    assert found.made_by == {"tokenizer": "counts in the records"}


def test_processes_do_not_change_anything(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 20_000)
    one, two = (statistics_of([many], StatsSettings(processes=number, sample=40)) for number in (1, 2))
    assert one == two
    assert (one.conversations, one.sample, one.figures["tokens_utterance"].count) == (400, 40, 1600 - 2)


def test_parts_do_not_change_the_figures(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = statistics_of([many], ALONE)
    monkeypatch.setattr(parts, "PART_BYTES", 7000)
    by_parts = statistics_of([many], ALONE)
    assert by_parts.realism.mtld_total == pytest.approx(whole.realism.mtld_total)
    assert by_parts.realism.model_copy(update={"mtld_total": whole.realism.mtld_total}) == whole.realism
    for key in ("rounds", "tokens_utterance", "mtld", "repeats", "user_words"):
        assert by_parts.figures[key].value == pytest.approx(whole.figures[key].value)
        assert ends(by_parts.figures[key].estimate) == pytest.approx(ends(whole.figures[key].estimate), rel=0.05)


def test_a_seed_draws_a_sample_and_keeps_the_figures(many: Path) -> None:
    one, same, other = (statistics_of([many], StatsSettings(seed=seed, sample=40, processes=1)) for seed in (1, 1, 2))
    assert one == same
    assert one.figures["rounds"].value == other.figures["rounds"].value
    assert one.figures["first_turn_diversity"] != other.figures["first_turn_diversity"]


def test_what_cannot_be_in_the_sample_any_more_is_not_carried(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 20_000)
    total, carried = Counted(), 0

    def limit() -> int | None:
        return total.sample[-1].number if len(total.sample) == 5 else None

    for counted, _ in counted_parts(parts_of([many]), Counting(seed=1, sample=5), limit, 1):
        carried += len(counted.sample)
        total.merge(counted, 5)
    whole = statistics_of([many], StatsSettings(seed=1, sample=5, processes=1))
    assert whole.sample == 5
    assert 5 <= carried < 15


def test_tokens_are_counted_by_a_tokenizer_where_one_is_given(tmp_path: Path) -> None:
    path = written(tmp_path / "one.jsonl", [record("1", "Hello there", "Hello there", turns=[])])
    found = statistics_of([path], StatsSettings(tokenizer="models/demo/base", processes=1)).figures["tokens_utterance"]
    assert found.count == 2
    assert found.value
    assert found.value >= 2


def test_progress_tells_the_conversations_and_the_share_so_far(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 60_000)
    told: list[tuple[str, int, float]] = []
    measure([many], ALONE, on_progress=lambda *now: told.append(now))
    assert {what for what, _, _ in told} == {"conversations"}
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == ("conversations", 400, 1.0)


def test_a_file_without_conversations_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = written(tmp_path / "none.jsonl", [{"id": "3"}])
    with pytest.raises(InputError, match=r"none\.jsonl: no conversation in it \(no list under"):
        statistics_of([path], ALONE)


def test_distances_are_from_each_other_dataset(tmp_path: Path) -> None:
    short = measure([written(tmp_path / "short.jsonl", [record(str(n), "one", "x") for n in range(9)])], ALONE)
    long = measure([written(tmp_path / "long.jsonl", [record(str(n), "a b c d", "x") for n in range(9)])], ALONE)
    (found,) = beside(short, [long]).distances
    assert found.other == "long.jsonl"
    assert found.kolmogorov_smirnov == Estimate(value=1, low=1, high=1)
    assert found.mean_ratio == Estimate(value=0.25, low=0.25, high=0.25)


def test_a_dataset_is_not_far_from_itself(many: Path) -> None:
    once, again = measure([many], ALONE), measure([many], ALONE)
    (found,) = beside(once, [again]).distances
    assert found.kolmogorov_smirnov is not None
    assert found.kolmogorov_smirnov.value == 0
    low, high = ends(found.kolmogorov_smirnov)
    assert low == 0 < high < 0.1
    low, high = ends(found.mean_ratio)
    assert 0.8 < low < 1 < high < 1.25


def test_an_error_of_a_process_is_raised_as_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "one.jsonl", [record("1", "a", "b")])
    with pytest.raises(PlatoLMError, match=r"no-such-folder/model"):
        statistics_of([path], StatsSettings(tokenizer=str(tmp_path / "no-such-folder/model"), processes=2))


def test_counting_a_block_after_the_other_draws_other_lots() -> None:
    content = b"".join(json.dumps(varied(number)).encode() + b"\n" for number in range(1200))
    counted = count(0, UnpackedLines(Path("a.jsonl"), content, 1), Counting(seed=1, sample=2000))
    assert len({one.number for one in counted.sample}) == 1200


def test_names_are_bounded_in_number_and_length(tmp_path: Path) -> None:
    endings = [f"{'e' * 300}{number}" if number == 7 else f"ending {number}" for number in range(500)]
    path = written(
        tmp_path / "a.jsonl", [record(str(n), "a", "b", termination_reason=one) for n, one in enumerate(endings)]
    )
    found = statistics_of([path], ALONE).endings
    assert len(found) == MAX_NAMES + 1
    assert found[OTHERS] == 500 - MAX_NAMES
    assert found["e" * 200] == 1


def test_one_conversation_has_figures_without_intervals(tmp_path: Path) -> None:
    found = statistics_of([written(tmp_path / "a.jsonl", [record("1", "why so?", "so", "why?", "so")])], ALONE).figures
    assert found["rounds"].estimate == Estimate(value=2)
    assert found["user_words"].estimate == Estimate(value=1.5)
    assert found["first_turn_diversity"].estimate is None


def test_no_user_turns_are_no_figures_of_theirs(tmp_path: Path) -> None:
    silent = {"id": "1", "conversations": [{"from": "gpt", "value": "hello"}]}
    found = statistics_of([written(tmp_path / "a.jsonl", [silent, {**silent, "conversations": []}])], ALONE)
    assert found.conversations == 2
    assert found.figures["rounds"].value == 0
    assert found.figures["mtld"].lacking == found.figures["repeats"].lacking == "the dataset has no such turn"
    assert found.figures["assistant_words"].value == 1
    other = measure([written(tmp_path / "b.jsonl", [record("1", "a", "b")])], ALONE)
    (distance,) = beside(measure([tmp_path / "a.jsonl"], ALONE), [other]).distances
    assert (distance.kolmogorov_smirnov, distance.mean_ratio) == (None, None)


def test_turns_of_a_megabyte_are_counted(tmp_path: Path) -> None:
    long = "so many words " * 75_000
    found = statistics_of([written(tmp_path / "a.jsonl", [record("1", long, long, long, "ok")] * 2)], ALONE)
    assert found.user_lengths == {LENGTH_CAP: 4}
    assert found.figures["user_words"].value == 225_000
    assert found.figures["repeats"].value == 50
    assert found.figures["mtld"].value is not None


@pytest.mark.parametrize("count", [-1, True, 10**30, 1e400, "9", None])
def test_token_counts_that_are_none_are_not_counted(tmp_path: Path, count: object) -> None:
    turns = [{"num_tokens": count}, {"num_tokens": 3}]
    path = written(tmp_path / "a.jsonl", [record("1", "a", "b", turns=turns), record("2", "a", "b")])
    assert statistics_of([path], ALONE).figures["tokens_utterance"].lacking
