"""What a side has used."""

from __future__ import annotations

import json

from platolm.chat_apis.accounting import LATENCY_BOUNDS_S, SideAccount
from platolm.chat_apis.prices import Usage


def some_account() -> SideAccount:
    account = SideAccount()
    account.answered(Usage(100, 10, cached=60), 500, 1.5)
    account.answered(Usage(200, 20, is_estimate=True), None, 0.1)
    account.failed(throttled=True, cost_nanos=0)
    account.failed(throttled=False, cost_nanos=70)
    return account


def test_sums() -> None:
    account = some_account()
    assert (account.num_requests, account.num_failed, account.num_throttled) == (4, 2, 1)
    assert (account.prompt_tokens, account.cached_tokens, account.generated_tokens) == (300, 60, 30)
    assert (account.cost_nanos, account.num_unpriced, account.num_estimated) == (570, 1, 1)
    assert account.latency_sum_s == 1.6


def test_a_latency_on_a_bound_is_in_its_bin_and_the_longest_in_one_of_their_own() -> None:
    account = SideAccount()
    for latency_s in (0.1, 0.1001, 600.0, 601.0):
        account.answered(Usage(1, 1), 0, latency_s)
    assert account.latency_bins == [1, 1, *[0] * 10, 1, 1]
    assert len(account.latency_bins) == len(LATENCY_BOUNDS_S) + 1


def test_shares_of_latencies() -> None:
    account = SideAccount()
    assert account.latency_s(0.5) is None
    for latency_s in [0.3] * 90 + [4.0] * 9 + [1000.0]:
        account.answered(Usage(1, 1), 0, latency_s)
    assert (account.latency_s(0.5), account.latency_s(0.95), account.latency_s(1.0)) == (0.5, 5.0, None)


def test_accounts_of_several_workers_are_added() -> None:
    account = some_account() + some_account()
    assert account.num_requests == 8
    assert account.cost_nanos == 1140
    assert account.latency_bins == [2 * num for num in some_account().latency_bins]
    assert account + SideAccount() == account


def test_an_account_travels_as_json() -> None:
    account = some_account()
    assert SideAccount.from_json(json.loads(json.dumps(account.to_json()))) == account
