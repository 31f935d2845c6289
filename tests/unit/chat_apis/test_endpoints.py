"""The operator's file of chat APIs, their keys, and which conversation asks which."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from platolm.chat_apis.endpoints import NO_KEY, ChatEndpoint, choose, key_of, read_endpoints
from platolm.chat_apis.pace import RateLimits
from platolm.chat_apis.prices import Prices
from platolm.errors import MisconfiguredError, SpecError

FILE = """\
apis:
  small:
    url: https://api.example.com/v1
    model: small-model
    key_env: EXAMPLE_KEY
    limits: {requests_per_minute: 500, tokens_per_minute: 200000, in_flight: 8}
    prices: {input: 0.15, cached_input: 0.075, output: 0.6}
    max_tokens_field: max_completion_tokens
    omit: [temperature, seed]
    extra_body: {reasoning_effort: low}
  azure:
    url: https://name.openai.azure.com
    model: deployment
    api_version: 2024-10-21
    key_file: /run/secrets/azure
    limits: {requests_per_minute: 60}
  laptop: {url: "http://localhost:11434/v1", model: tiny, context_tokens: 4096}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "chat-apis.yaml"
    file.write_text(FILE)
    return file


def test_a_file_of_endpoints(file: Path) -> None:
    apis = read_endpoints(file).apis
    assert list(apis) == ["small", "azure", "laptop"]
    small, azure, laptop = apis.values()
    assert small.prices == Prices(input=0.15, cached_input=0.075, output=0.6)
    assert small.rate_limits() == RateLimits(500, 200_000)
    assert small.omit == {"temperature", "seed"}
    assert azure.api_version == "2024-10-21"
    assert azure.rate_limits() == RateLimits(60, None, counts_asked=True)
    assert (laptop.key_env, laptop.key_file, laptop.context_tokens) == (None, None, 4096)
    assert laptop.rate_limits() == RateLimits()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("model: tiny", "key: sk-1"), r"line 17: apis\.laptop\.key: Extra inputs"),
        (("key_env: EXAMPLE_KEY", "key_env: sk-abc"), r"line 5: apis\.small\.key_env: .*pattern"),
        (("url: https://api.example.com/v1", "url: api.example.com"), r"line 3: apis\.small\.url"),
        (("requests_per_minute: 60}", "requests_per_minute: 0}"), r"line 16: apis\.azure\.limits\.requests_per_minute"),
        (("omit: [temperature, seed]", "omit: [model]"), r"line 9: apis\.small\.omit"),
        (("key_file: /run", "key_env: A\n    key_file: /run"), r"azure: give key_env or key_file, not both"),
        (("  laptop:", '  "a b":'), r"apis\.a b"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(file: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in FILE
    file.write_text(FILE.replace(*change))
    with pytest.raises(SpecError) as caught:
        read_endpoints(file)
    assert any(re.search(said, str(problem)) for problem in caught.value.problems), caught.value.problems


def endpoint(**fields: object) -> ChatEndpoint:
    return ChatEndpoint.model_validate({"url": "https://api.example.com/v1", "model": "m", **fields})


def test_a_key_from_the_environment_from_the_secrets_folder_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "example_key").write_text("from-the-folder\n")
    (tmp_path / "own").write_text("  from-the-file\n")
    named = endpoint(key_env="EXAMPLE_KEY")
    assert key_of("a", named, {"EXAMPLE_KEY": "from-outside\n"}, tmp_path).get_secret_value() == "from-outside"
    assert key_of("a", named, {"EXAMPLE_KEY": " "}, tmp_path).get_secret_value() == "from-the-folder"
    assert key_of("a", endpoint(key_file=tmp_path / "own"), {}).get_secret_value() == "from-the-file"
    assert key_of("a", endpoint(), {"OPENAI_API_KEY": "not asked for"}).get_secret_value() == NO_KEY


def test_a_key_that_is_not_there_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match=r"^a: no key, the environment variable EXAMPLE_KEY is not set"):
        key_of("a", endpoint(key_env="EXAMPLE_KEY"), {}, tmp_path)
    with pytest.raises(MisconfiguredError, match=r"^a: its key file .*own cannot be read"):
        key_of("a", endpoint(key_file=tmp_path / "own"), {})
    (tmp_path / "own").write_text("\n")
    with pytest.raises(MisconfiguredError, match=r"^a: its key file .*own is empty"):
        key_of("a", endpoint(key_file=tmp_path / "own"), {})


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(key_of("a", endpoint(key_env="K"), {"K": "secret"}))


WEIGHTS = {"big": 3.0, "small": 1.0, "off": 0.0}


def test_conversations_are_spread_by_weight() -> None:
    chosen = Counter(choose(WEIGHTS, 1, index) for index in range(10_000))
    assert set(chosen) == {"big", "small"}
    assert chosen["big"] / 10_000 == pytest.approx(0.75, abs=0.02)


def test_a_conversation_asks_the_same_everywhere() -> None:
    chosen = [choose(WEIGHTS, 7, index) for index in range(8)]
    assert chosen == [choose(dict(reversed(WEIGHTS.items())), 7, index) for index in range(8)]
    assert chosen != [choose(WEIGHTS, 8, index) for index in range(8)]


def test_only_the_conversations_of_what_is_left_out_move() -> None:
    weights = {"a": 2.0, "b": 1.0, "c": 1.0}
    before = [choose(weights, 1, index) for index in range(6_000)]
    after = [choose(weights, 1, index, without={"b"}) for index in range(6_000)]
    moved = Counter(new for old, new in zip(before, after, strict=True) if old == "b")
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "b")
    assert moved["a"] / moved["c"] == pytest.approx(2.0, rel=0.2)


def test_there_may_be_none() -> None:
    assert choose({"a": 1.0}, 1, 1, without={"a"}) is None
    assert choose({}, 1, 1) is None
