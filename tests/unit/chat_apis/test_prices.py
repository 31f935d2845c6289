"""Costs, to the billionth."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.chat_apis.prices import FREE, NANOS, Prices, PriceTable, Usage, is_local, money, prices_of, read_prices
from platolm.errors import SpecError

PRICES = Prices(input=0.15, cached_input=0.075, output=0.60)


def test_the_cost_of_a_request() -> None:
    assert PRICES.cost(Usage(prompt=1_000_000, generated=0)) == 150_000_000
    assert PRICES.cost(Usage(prompt=0, generated=1_000_000)) == 600_000_000
    assert PRICES.cost(Usage(prompt=1_000, generated=100, cached=400)) == 600 * 150 + 400 * 75 + 100 * 600


def test_cached_tokens_cost_as_others_where_no_price_says_otherwise() -> None:
    assert Prices(input=2, output=8).cost(Usage(prompt=10, generated=0, cached=10)) == 20_000


def test_more_cached_than_prompt_tokens_are_not_paid_back() -> None:
    assert PRICES.cost(Usage(prompt=10, generated=0, cached=99)) == 750


def test_a_part_of_a_billionth_is_rounded_up() -> None:
    assert Prices(input=0.0001, output=0).cost(Usage(prompt=1, generated=0)) == 1
    assert FREE.cost(Usage(prompt=10**9, generated=10**9)) == 0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), max_size=20))
def test_a_sum_of_costs_is_never_under_the_cost_of_the_sum(requests: list[tuple[int, int]]) -> None:
    parts = sum(PRICES.cost(Usage(prompt, generated)) for prompt, generated in requests)
    whole = PRICES.cost(Usage(sum(prompt for prompt, _ in requests), sum(generated for _, generated in requests)))
    assert whole <= parts <= whole + len(requests)


@pytest.mark.parametrize("price", [-1.0, float("inf"), float("nan")])
def test_a_price_is_a_number(price: float) -> None:
    with pytest.raises(ValueError, match="input"):
        Prices(input=price, output=1)


def test_a_table_from_yaml_and_json(tmp_path: Path) -> None:
    yaml, json = tmp_path / "prices.yaml", tmp_path / "prices.json"
    yaml.write_text(
        "models:\n  small: {input: 0.15, cached_input: 0.075, output: 0.6}\n  big:\n    input: 2\n    output: 8\n"
    )
    json.write_text('{\n\t"models": {"small": {"input": 0.15, "cached_input": 0.075, "output": 0.6}}}')
    assert read_prices(yaml).models == {"small": PRICES, "big": Prices(input=2, output=8)}
    assert read_prices(json).models == {"small": PRICES}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models:\n  small:\n    input: cheap\n    output: 1\n", r"line 3: models\.small\.input: .*number"),
        ("models:\n  small:\n    input: 1\n", r"line 2: models\.small\.output: Field required"),
        ("models:\n  a: {input: 1, output: 1}\n  a: {input: 2, output: 2}\n", r"line 3: models\.a: it is given twice"),
        ("models: [\n", "line 2"),
        ("modles: {}\n", r"line 1: modles: Extra inputs"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=said):
        read_prices(file)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"prices\.yaml: it cannot be read"):
        read_prices(tmp_path / "prices.yaml")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1:8080/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://10.2.3.4/v1", True),
        ("http://ollama:11434/v1", True),
        ("http://host.docker.internal:11434/v1", True),
        ("http://box.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://8.8.8.8/v1", False),
        ("https://localhost.example.com/v1", False),
    ],
)
def test_what_is_local(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_own_prices_before_the_tables_before_nothing_for_local_ones() -> None:
    table, own = PriceTable(models={"m": PRICES}), Prices(input=1, output=1)
    assert prices_of("m", "https://api.example.com/v1", own, table) == own
    assert prices_of("m", "https://api.example.com/v1", None, table) == PRICES
    assert prices_of("m", "http://localhost/v1", None, table) == PRICES
    assert prices_of("other", "http://localhost/v1", None, table) == FREE
    assert prices_of("other", "https://api.example.com/v1", None, table) is None


@pytest.mark.parametrize(
    ("nanos", "shown"),
    [(0, "0.00"), (1, "1e-09"), (1_234_567, "0.0012"), (123_456_789, "0.1235"), (12 * NANOS + NANOS // 2, "12.50")],
)
def test_money_for_people(nanos: int, shown: str) -> None:
    assert money(nanos) == shown
