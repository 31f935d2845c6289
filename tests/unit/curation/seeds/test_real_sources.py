"""Real seeds of every kind that lies beside the repository: counted, and read by a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from curation.seeds.making import Choice, SeedReport, make_seeds
from curation.seeds.sources import Kind, Reason
from platolm.seeds import read_seeds
from platolm.spec import SeedMode

DATA = Path(__file__).parents[4].parent / "shared" / "data"


def made(name: str, choice: Choice, out: Path) -> SeedReport:
    source = DATA / name
    if not source.is_file():
        pytest.skip(f"{source} is absent: the real seeds lie beside the repository")
    return make_seeds([source], out, choice)


@pytest.mark.parametrize(
    ("name", "kind", "num_seeds", "left_out"),
    [
        ("seeds_dolly.jsonl", Kind.DOLLY, 108, {}),
        ("seeds_wizardlm_testset.jsonl", Kind.WIZARDLM, 155, {Reason.REPEATED: 1}),
        ("seeds_sharegpt_first.jsonl", Kind.SHAREGPT, 308, {Reason.LATER_PART: 33, Reason.REPEATED: 1}),
        ("seeds_self_instruct.jsonl", Kind.SELF_INSTRUCT, 118, {}),
        ("seeds_user_oriented.jsonl", Kind.SELF_INSTRUCT, 176, {}),
        ("seeds_arena_hard.jsonl", Kind.PLAIN, 872, {}),
        ("seeds_ultra_eval.jsonl", Kind.PLAIN, 265, {Reason.REPEATED: 4}),
        ("seeds_alpaca_demo.jsonl", Kind.PLAIN, 658, {Reason.REPEATED: 12}),
    ],
)
def test_every_kind(name: str, kind: Kind, num_seeds: int, left_out: Counter[Reason], tmp_path: Path) -> None:
    report = made(name, Choice(kind), tmp_path / "seeds.jsonl")
    assert (report.num_written, report.left_out) == (num_seeds, left_out)
    assert len(read_seeds(tmp_path / "seeds.jsonl", SeedMode.QUESTION).seeds) == num_seeds


def test_answers_come_along(tmp_path: Path) -> None:
    for name in ("seeds_dolly.jsonl", "seeds_self_instruct.jsonl", "seeds_alpaca_demo.jsonl"):
        made(name, Choice(sample=50), tmp_path / name)
        assert len(read_seeds(tmp_path / name, SeedMode.EXCHANGE).seeds) == 50


def test_alpacas_own_entries_are_no_wizardlm_seeds(tmp_path: Path) -> None:
    both = tmp_path / "both.jsonl"
    made("seeds_wizardlm_testset.jsonl", Choice(), both)
    both.write_bytes(
        (DATA / "seeds_wizardlm_testset.jsonl").read_bytes() + (DATA / "seeds_alpaca_demo.jsonl").read_bytes()
    )
    report = make_seeds([both], tmp_path / "seeds.jsonl", Choice(Kind.WIZARDLM))
    assert report.left_out[Reason.FROM_ALPACA] == 670
    assert report.num_written == 155


def test_a_draw_by_category_keeps_every_category_in_proportion(tmp_path: Path) -> None:
    report = made("seeds_ultra_eval.jsonl", Choice(sample=53, stratify="category"), tmp_path / "seeds.jsonl")
    assert report.num_written == 53
    whole = made("seeds_ultra_eval.jsonl", Choice(sample=265, stratify="category"), tmp_path / "all.jsonl")
    for category, count in whole.strata.items():
        assert abs(report.strata[category] - count * 53 / 265) < 1
