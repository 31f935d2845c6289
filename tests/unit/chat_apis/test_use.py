"""What people are told of an account."""

from __future__ import annotations

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.prices import Usage
from platolm.chat_apis.use import ApiUse
from platolm.cli.api_use import use_line


def test_an_account_as_people_read_it() -> None:
    account = SideAccount()
    for latency_s in (0.3, 0.4, 0.4, 3.0):
        account.answered(Usage(1000, 20, cached=300), 2_000_000, latency_s)
    account.answered(Usage(50, 5, is_estimate=True), None, 0.4)
    account.failed(throttled=True, cost_nanos=0)
    account.failed(throttled=False, cost_nanos=4_000_000)
    use = ApiUse.of(account)
    assert use == ApiUse(
        requests=7,
        failed=2,
        throttled=1,
        prompt_tokens=4050,
        cached_tokens=1200,
        generated_tokens=85,
        cost=0.012,
        unpriced=1,
        estimated=1,
        mean_latency_s=0.9,
        latency_50_s=0.5,
        latency_95_s=5.0,
    )
    assert use_line(use) == (
        "7 requests (2 failed, 1 of them throttled), 4,050 tokens in (1,200 cached) and 85 out, cost 0.0120"
        " and 1 answers of no known price"
    )


def test_one_that_nobody_has_used() -> None:
    use = ApiUse.of(SideAccount())
    assert use == ApiUse()
    assert use_line(use) == "0 requests, 0 tokens in and 0 out, cost 0.00"
