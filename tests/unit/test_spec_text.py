"""A spec as commented YAML, and that it can be read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.realism_limits import Bounds, OutOfBounds, RealismLimits, ShareBounds
from platolm.sampling import Sampling
from platolm.spec import Endings, Limits, Output, OutputFormat, RunSpec, SeedMode, SideSpec
from platolm.spec_file import read_spec_file
from platolm.spec_text import spec_json, spec_yaml

TEXTS = st.none() | st.text(max_size=60)

SPECS = st.builds(
    RunSpec,
    conversations=st.integers(1, 10**8),
    name=TEXTS,
    seed_mode=st.sampled_from(SeedMode),
    seed=st.integers(0, 2**63 - 1),
    simulator=st.builds(
        SideSpec,
        profile=st.just("socratic"),
        endpoints=st.none() | st.just(["http://a:1/v1", "https://b"]),
        system_prompt=TEXTS,
        sampling=st.builds(Sampling, temperature=st.floats(0, 2), top_p=st.floats(1e-9, 1)),
    ),
    endings=st.builds(
        Endings,
        user_ended=st.booleans(),
        stop_phrases=st.lists(st.text(min_size=1, max_size=9).filter(lambda text: not text.isspace()), max_size=3),
    ),
    limits=st.builds(
        Limits,
        dead=st.none() | st.integers(1, 10**9),
        realism=st.builds(
            RealismLimits,
            repeats=st.none() | st.builds(ShareBounds, at_most=st.none() | st.floats(0, 1)),
            rounds=st.none() | st.builds(Bounds, at_least=st.floats(0, 1e9)),
            then=st.sampled_from(OutOfBounds),
        ),
    ),
    output=st.builds(Output, format=st.sampled_from(OutputFormat)),
)


@given(SPECS, st.none() | st.sampled_from([Path("/data/q.jsonl"), Path("/no/1e-3")]))
def test_a_printed_spec_is_the_same_spec_again(
    tmp_path_factory: pytest.TempPathFactory, spec: RunSpec, seeds: Path | None
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "run.yaml").write_text(spec_yaml(spec, seeds), encoding="utf-8", newline="")
    (folder / "run.json").write_text(json.dumps(spec_json(spec, seeds)), encoding="utf-8")
    for name in ("run.yaml", "run.json"):
        draft = read_spec_file(folder / name)
        assert (draft.spec(), draft.seeds) == (spec, seeds)


def test_every_field_is_there_with_its_meaning() -> None:
    text = spec_yaml(RunSpec(conversations=5))
    assert text.startswith("# Everything that a run is asked for.")
    assert "\nseeds: null\n" in text
    assert "\n# for people; any text\nname: null\n" in text
    assert "one of free, question, exchange, intent, continue, reanswer seed_mode: free" in " ".join(
        text.replace("\n#", "").split()
    )
    assert "-100,000" not in text
    assert "; above 0, at most 1\n    top_p: 1.0\n" in text
    assert "\n  # end when a speaker repeats an earlier utterance or loops within one\n  repetition: true\n" in text
    assert "\n# The rules that end a conversation.\nendings:\n" in text
    assert "\n    # rounds a conversation\n    rounds: null\n" in text
    assert "\n    after: 200\n    # what is done when a figure leaves its bounds;" in text
    assert "\n    then: warn\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_bounds_that_are_set_are_a_group() -> None:
    limits = Limits(realism=RealismLimits(repeats=ShareBounds(at_most=0.02)))
    text = spec_yaml(RunSpec(conversations=5, limits=limits))
    assert "    repeats:\n      # 0 to 1\n      at_least: null\n      # 0 to 1\n      at_most: 0.02\n" in text
