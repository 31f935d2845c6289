from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, PROFILES, SOCRATIC, Turn, prompt_ids
from platolm.simulators.told import Told
from platolm.spec import Endings, RunSpec, Seed, SeedMode, SideSpec, speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.engines.sides import SideDescription
from services.orchestrator.runs import admission, fitting
from services.orchestrator.runs.admission import MIN_ROOM_TOKENS, NoUsableSeedError, admit
from services.orchestrator.runs.fitting import PromptTexts, TokenBounds, token_bounds
from tests.unit.simulators.tokenizers import save_llama3_tokenizer

CONTEXT = 400


@pytest.fixture
def found(tiny_tokenizer_folder: Path) -> dict[str, SideDescription]:
    """Both sides as workers published them."""
    return {
        USER: SideDescription("socratic", str(tiny_tokenizer_folder), CONTEXT),
        ASSISTANT: SideDescription("platolm", str(tiny_tokenizer_folder), CONTEXT),
    }


def spec(mode: SeedMode = SeedMode.QUESTION, context_tokens: int = CONTEXT, **fields: Any) -> RunSpec:
    return RunSpec(conversations=5, seed_mode=mode, endings=Endings(context_tokens=context_tokens), **fields)


def longest_that_fits(tokenizer: HubTokenizer, make: Any) -> int:
    """The longest run of `é ` whose prompt leaves `MIN_ROOM_TOKENS`, by trying each."""
    lengths = (n for n in range(1, CONTEXT) if CONTEXT - len(make("é " * n, tokenizer)) < MIN_ROOM_TOKENS)
    return next(lengths) - 1


def question_prompt(text: str, tokenizer: HubTokenizer) -> list[int]:
    return prompt_ids([Turn(USER, text)], PLATOLM, tokenizer)


def exchange_prompt(text: str, tokenizer: HubTokenizer) -> list[int]:
    return prompt_ids([Turn(USER, "Why?"), Turn(ASSISTANT, text)], SOCRATIC, tokenizer)


def intent_prompt(text: str, tokenizer: HubTokenizer) -> list[int]:
    return prompt_ids([Turn("system", f"Be terse. A cook. {text.strip()}")], SOCRATIC, tokenizer)


@pytest.mark.parametrize(
    ("mode", "field", "others", "make"),
    [
        (SeedMode.QUESTION, "question", {}, question_prompt),
        (SeedMode.EXCHANGE, "answer", {"question": "Why?"}, exchange_prompt),
        (SeedMode.INTENT, "intent", {"persona": "A cook."}, intent_prompt),
    ],
)
def test_exactly_the_seeds_that_leave_room_are_kept(
    found: dict[str, SideDescription],
    tiny_tokenizer: HubTokenizer,
    mode: SeedMode,
    field: str,
    others: dict[str, str],
    make: Any,
) -> None:
    longest = longest_that_fits(tiny_tokenizer, make)
    seeds = [Seed(**{**others, field: "é " * n}, line=n) for n in (1, longest - 1, longest, longest + 1, 10**6)]
    simulator = SideSpec(profile="socratic", system_prompt="Be terse." if mode is SeedMode.INTENT else None)
    admitted = admit(spec(mode, simulator=simulator), seeds, found)
    assert [seed.line for seed in admitted.seeds] == [1, longest - 1, longest]
    assert admitted.warnings == [
        f"2 seeds leave no room for an answer in {CONTEXT} tokens and are left out (lines {longest + 1}, {10**6})"
    ]


def test_no_seed_fits(found: dict[str, SideDescription]) -> None:
    with pytest.raises(NoUsableSeedError, match="less than 32 of 400 tokens"):
        admit(spec(), [Seed(question="x " * 1000)], found)


def test_seeds_whose_length_tells_are_not_tokenised(
    found: dict[str, SideDescription], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(source: str) -> HubTokenizer:
        raise AssertionError(f"{source} was loaded")

    monkeypatch.setattr(admission, "load_tokenizer", load)
    admission._cached_tokenizer.cache_clear()
    seeds = [Seed(question="Hi?", line=1), Seed(question="x" * 10_000_000, line=2)]
    assert [seed.line for seed in admit(spec(), seeds, found).seeds] == [1]


def test_batches_do_not_change_the_answer(found: dict[str, SideDescription], monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [Seed(question="word " * n, line=n) for n in range(1, 120)]
    together = admit(spec(), seeds, found)
    assert 0 < len(together.seeds) < len(seeds)
    monkeypatch.setattr(fitting, "_BATCH_CHARS", 500)
    assert admit(spec(), seeds, found) == together


def test_the_models_limit_holds(found: dict[str, SideDescription]) -> None:
    admitted = admit(spec(SeedMode.FREE, 2048), [], found)
    assert admitted.warnings == ["context is 400 tokens, the models' limit, not 2048"]


def test_without_workers_nothing_is_checked() -> None:
    seeds = [Seed(question="x " * 1000)]
    assert admit(spec(), seeds, {}) == admission.Admitted(seeds, [], spec().endings.context_tokens)


def test_another_model_than_workers_found(found: dict[str, SideDescription]) -> None:
    seeds = [Seed(question="x " * 1000)]
    asked = spec(respondent=SideSpec(profile="platolm", model="other"))
    admitted = admit(asked, seeds, found)
    assert admitted.seeds == seeds, "its tokenizer is not known"
    assert admitted.warnings == ["respondent: workers found the model 'platolm', not 'other'"]
    named = spec(respondent=SideSpec(profile="platolm", model="platolm"))
    assert admit(named, [Seed(question="a")], found).warnings == []


def test_a_runs_own_endpoints_are_not_known(found: dict[str, SideDescription]) -> None:
    seeds = [Seed(question="x " * 1000)]
    asked = spec(respondent=SideSpec(profile="platolm", model="other", endpoints=["http://elsewhere/v1"]))
    assert admit(asked, seeds, found) == admission.Admitted(seeds, [], CONTEXT)


def test_a_tokenizer_that_cannot_be_loaded(found: dict[str, SideDescription], tmp_path: Path) -> None:
    broken = found | {ASSISTANT: SideDescription("platolm", str(tmp_path), CONTEXT)}
    seeds = [Seed(question="x " * 1000)]
    admitted = admit(spec(), seeds, broken)
    assert admitted.seeds == seeds
    assert admitted.warnings[0].startswith("seeds were not checked against the context: ")


def test_prompt_texts_are_those_of_the_prompt(tiny_tokenizer: HubTokenizer) -> None:
    turns = [Turn(USER, "Hello there!"), Turn(ASSISTANT, "How are you?")]
    for profile in PROFILES.values():
        prompt = PromptTexts().prompt(profile, "A system prompt.", turns)
        num_tokens = prompt.num_control + sum(len(tiny_tokenizer.encode(text)) for text in prompt.texts)
        expected = prompt_ids([Turn("system", "A system prompt."), *turns], profile, tiny_tokenizer)
        assert num_tokens == len(expected)


def test_bounds_of_a_byte_level_tokenizer(tiny_tokenizer_folder: Path, tiny_tokenizer: HubTokenizer) -> None:
    bounds = token_bounds(tiny_tokenizer_folder)
    longest = max(len(tiny_tokenizer.token_of(i)) for i in range(tiny_tokenizer.vocab_size))
    assert bounds == TokenBounds(bytes_bound=True, longest=longest)
    for text in ("", "Hello there!", "é" * 50, "😀 x", "<s></s>", "  \n\t", "a" * 300):
        num_tokens = len(tiny_tokenizer.encode(text))
        at_most = bounds.at_most([text])
        assert at_most is not None
        assert bounds.at_least([text]) <= num_tokens <= at_most


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFKD"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"pre_tokenizer": {"type": "Metaspace"}},
        {"pre_tokenizer": None},
        {"model": {"type": "Unigram", "vocab": [["abc", 0.5], ["ab", 0.1]]}},
        {"model": {"type": "BPE", "vocab": {"abc": 1}, "end_of_word_suffix": "</w>"}},
    ],
)
def test_tokenizers_that_may_make_more_of_a_text(tmp_path: Path, change: dict[str, Any]) -> None:
    plain = {
        "model": {"type": "BPE", "vocab": {"abc": 1}},
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel", "add_prefix_space": False}],
        },
        "added_tokens": [{"content": "four"}],
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(plain))
    assert token_bounds(tmp_path) == TokenBounds(bytes_bound=True, longest=4)
    path.write_text(json.dumps(plain | change))
    assert token_bounds(tmp_path) == TokenBounds(bytes_bound=False, longest=4)


def test_the_demo_tokenizer_is_byte_level() -> None:
    folder = Path("models/demo/socratic")
    assert token_bounds(folder).bytes_bound
    assert load_tokenizer(folder).vocab_size > 0


def test_seeds_of_a_profile_with_a_template_are_measured_whole(tmp_path: Path) -> None:
    folder = save_llama3_tokenizer(tmp_path)
    found = {USER: SideDescription("userlm", str(folder), CONTEXT)}
    prompts = speaker_profile("userlm").prompts(load_tokenizer(folder))
    lengths = [len(prompts.ids([], Told(intent="word " * n))) for n in range(1, CONTEXT)]
    longest = sum(CONTEXT - length >= MIN_ROOM_TOKENS for length in lengths)
    assert 1 < longest < CONTEXT - 1
    seeds = [Seed(intent="word " * n, line=n) for n in (1, longest, longest + 1)]
    admitted = admit(spec(SeedMode.INTENT, simulator=SideSpec(profile="userlm")), seeds, found)
    assert [seed.line for seed in admitted.seeds] == [1, longest]


def test_a_profile_that_does_not_fit_the_tokenizer_leaves_seeds_unchecked(found: dict[str, SideDescription]) -> None:
    seeds = [Seed(intent="word " * 1000)]
    admitted = admit(spec(SeedMode.INTENT, simulator=SideSpec(profile="userlm")), seeds, found)
    assert admitted.seeds == seeds
    assert "the tokenizer has no '<|start_header_id|>'" in admitted.warnings[0]
