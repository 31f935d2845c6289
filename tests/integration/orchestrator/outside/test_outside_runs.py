"""Whole runs whose sides are chat APIs: real Redis, API, writer and workers, and scripted servers."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.fakes.openai_server import Refusal
from tests.integration.orchestrator.outside.outside_stack import (
    ASKER,
    FIRST,
    KEYS_OF,
    RUN,
    SECOND,
    SEEDS,
    OutsideStack,
)
from tests.integration.orchestrator.processes import wait_until


def test_a_run_of_two_apis_by_weights_comes_to_the_exact_dataset(outside: OutsideStack) -> None:
    """With accounts to the last token: what the APIs were asked is what the run says that it used."""
    outside.worker()
    run_id = outside.submit(20, limits={"budget": 1000})
    outside.check_completed(run_id)
    asked = {name: len(server.asked) for name, server in outside.apis.items()}
    chosen = Counter(outside.chosen(run_id).values())
    assert asked == {ASKER: 2 * 20, FIRST: 3 * chosen[FIRST], SECOND: 3 * chosen[SECOND]}
    assert 10 <= chosen[FIRST] < 20, "by weights three to one"
    progress = outside.api.run(run_id)
    for side, names in {"simulator": [ASKER], "respondent": [FIRST, SECOND]}.items():
        bodies = [(name, body) for name in names for body in outside.apis[name].asked]
        use = progress["apis"][side]
        assert (use["requests"], use["failed"], use["unpriced"], use["estimated"]) == (len(bodies), 0, 0, 0)
        assert use["generated_tokens"] == 6 * len(bodies)
        assert use["cost"] == pytest.approx(outside.cost_of(bodies), abs=1e-9)
        assert use["latency_95_s"] is not None
    spent = round(1e9 * sum(use["cost"] for use in progress["apis"].values()))
    assert outside.budget(run_id) == {"held": "0", "spent": str(spent)}
    assert progress["budget"] == 1000
    assert progress["cost_estimate"]["likely"] >= spent / 1e9, "by utterances as long as they may be"
    assert progress["cost_estimate"]["assumptions"][0] == "20 conversations of 3 rounds, within 2048 tokens and 6 turns"


def test_429_with_retry_after_is_survived(outside: OutsideStack) -> None:
    outside.worker()
    busy = Refusal(429, "Rate limit reached.", "rate_limit_exceeded", headers={"Retry-After": "1"})
    outside.apis[FIRST].spoilers.extend([busy] * 3)
    run_id = outside.submit(8)
    outside.check_completed(run_id)
    use = outside.api.run(run_id)["apis"]["respondent"]
    assert (use["requests"], use["failed"], use["throttled"]) == (3 * 8 + 3, 3, 3)


def test_a_wrong_key_pauses_the_run_in_seconds_and_costs_nothing(outside: OutsideStack) -> None:
    outside.worker()
    outside.apis[SECOND].api_key = "sk-another"
    submitted = time.monotonic()
    run_id = outside.submit(8)
    reason = outside.stack.wait_paused(run_id, "worker")
    assert time.monotonic() - submitted < 10
    assert reason.startswith("second answered 401: Incorrect API key provided: ***.; its key is refused: ")
    outside.stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    assert outside.num_asked() == 0
    outside.apis[SECOND].api_key = KEYS_OF[SECOND]
    outside.api.act(run_id, "resume")
    outside.check_completed(run_id)


def test_a_key_that_is_not_there_pauses_the_run(outside: OutsideStack) -> None:
    worker = outside.prepared()
    del worker.env["KEY_OF_FIRST"]
    worker.start()
    run_id = outside.submit(2)
    reason = outside.stack.wait_paused(run_id, "worker")
    assert reason == "first: no key, the environment variable KEY_OF_FIRST is not set: set it"
    assert outside.num_asked() == 0


def test_a_key_that_is_refused_in_the_middle_of_a_run_pauses_it(outside: OutsideStack) -> None:
    outside.worker()
    outside.apis[FIRST].latency_s = 0.05
    run_id = outside.submit(20)
    outside.stack.wait_utterances(run_id, 40)
    outside.apis[FIRST].api_key = "sk-another"
    assert "its key is refused" in outside.stack.wait_paused(run_id, "worker")
    outside.stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    outside.apis[FIRST].api_key = KEYS_OF[FIRST]
    outside.api.act(run_id, "resume")
    outside.check_completed(run_id)


def test_a_budget_stops_the_run_within_an_utterance_a_slot_and_may_be_raised(outside: OutsideStack) -> None:
    for server in outside.apis.values():
        server.latency_s = 0.02
    outside.worker()
    run_id = outside.submit(40, limits={"budget": 5})
    reason = outside.stack.wait_paused(run_id, "limit")
    assert " of the budget of 5.00 is spent, and the next request may cost " in reason
    outside.stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    bodies = [(name, body) for name, server in outside.apis.items() for body in server.asked]
    spent = outside.cost_of(bodies)
    dearest = max(_most(body["messages"]) for _, body in bodies)
    assert 5 - dearest < spent <= 5
    assert outside.budget(run_id) == {"held": "0", "spent": str(round(spent * 1e9))}
    outside.api.act(run_id, "resume")
    outside.stack.wait_paused(run_id, "limit")  # whatever still fitted was asked
    assert spent <= float(outside.budget(run_id)["spent"]) / 1e9 <= 5
    progress = outside.api.act(run_id, "resume", budget=500)
    assert progress["budget"] == 500
    outside.check_completed(run_id)
    assert outside.repeats() == 0
    assert outside.budget(run_id)["limit"] == str(500 * 10**9)


def _most(messages: list[dict[str, str]]) -> float:
    """More than a request can set aside: a byte is never more than a token."""
    size = sum(len(message["content"].encode()) + 8 for message in messages)
    return (size * 1000 + 16 * 3000) / 1e6


def test_a_worker_that_is_killed_loses_nothing_and_pays_twice_for_what_was_in_flight_alone(
    outside: OutsideStack,
) -> None:
    for server in outside.apis.values():
        server.latency_s = 0.1
    first = outside.worker()
    run_id = outside.submit(16, limits={"budget": 1000})
    outside.stack.wait_utterances(run_id, 36)
    first.kill()
    in_flight = outside.api.run(run_id)["in_flight"]
    assert in_flight > 0
    outside.worker()
    outside.check_completed(run_id)
    assert 0 < outside.repeats() <= in_flight
    use = outside.api.run(run_id)["apis"]
    answered = sum(side["requests"] - side["failed"] for side in use.values())
    assert 16 * 5 <= answered <= outside.num_asked()
    held = int(outside.budget(run_id)["held"])
    assert held > 0, "what the dead worker had asked for may have been charged"


def test_an_api_that_is_away_leaves_its_conversations_to_the_other(outside: OutsideStack) -> None:
    outside.worker()
    respondent = {**RUN["respondent"], "apis": {"gone": 1, SECOND: 1}}
    run_id = outside.submit(8, respondent=respondent)
    outside.check_completed(run_id, dict.fromkeys(range(8), SECOND))


def test_a_run_waits_for_an_api_that_is_away(outside: OutsideStack) -> None:
    outside.worker(engines_patience_s=0.5)
    run_id = outside.submit(2, respondent={**RUN["respondent"], "apis": {"gone": 1}})
    reason = outside.stack.wait_paused(run_id, "engines")
    assert reason == "no chat API of the respondent answers at gone"
    assert outside.num_asked() == 0
    assert outside.api.dead(run_id) == []


def test_a_cancelled_run_lets_go_of_what_it_holds(outside: OutsideStack) -> None:
    outside.apis[FIRST].latency_s = outside.apis[SECOND].latency_s = 6
    outside.worker()
    run_id = outside.submit(8, limits={"budget": 1000})
    wait_until(lambda: outside.num_asked() == 8, what="8 requests on their way")
    outside.api.act(run_id, "cancel")
    outside.stack.wait(run_id, lambda run: run["state"] == "cancelled", "cancelled")
    wait_until(lambda: outside.budget(run_id).get("held") == "0", what="nothing held")
    assert int(outside.budget(run_id)["spent"]) > 0, "an answer may have been made, and charged"


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"apis": {"other": 1}}, "other", "is no chat API that the operator allows (PLATOLM_API_CHAT_APIS_FILE); "
         "there are asker, first, second, gone, unpriced"),
        ({"apis": {"unpriced": 1}}, "unpriced", "has no known price, and the run has a budget: add it to the price "
         "table"),
    ],
)  # fmt: skip
def test_what_the_operator_does_not_have_is_refused(
    outside: OutsideStack, fields: dict[str, object], place: str, message: str
) -> None:
    spec = {"conversations": 1, **RUN, "respondent": {"profile": "chat", **fields}, "limits": {"budget": 1}}
    response = outside.api.submit({"spec": spec, "seeds": SEEDS})
    assert response.status_code == 422
    assert response.json()["detail"] == [{"loc": ["body", "spec", "respondent", "apis", place], "msg": message}]


def test_a_run_without_a_budget_has_none_to_change(outside: OutsideStack) -> None:
    run_id = outside.submit(1)
    response = outside.api.post(run_id, "resume", budget=5)
    assert response.status_code == 409
    assert response.json()["detail"] == f"run {run_id} was started without limits.budget: there is none to change"


def test_a_budget_that_is_likely_to_be_too_small_is_told_before_the_start(outside: OutsideStack) -> None:
    run_id = outside.submit(1000, limits={"budget": 0.5})
    [warning] = outside.api.run(run_id)["warnings"]
    assert warning.startswith("the run is likely to cost about ")
    assert warning.endswith(", more than its budget of 0.5: it will pause there")
