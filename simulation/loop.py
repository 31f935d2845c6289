"""The events of a run in order of time: an utterance is complete, a request comes, an engine is killed or joins.

Conversations are claimed as workers do: as soon as one ends, up to the number in flight, and under `LEAST_RESERVED`
only where both sides have an engine with room. What a conversation reserves follows those that ended: `finish.lua`.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import numpy as np

from platolm.reservation import HELD_MARGIN
from simulation import engine, placement
from simulation.compiled import compiled
from simulation.placement import Policy
from simulation.state import (
    BUSY_SHARES,
    LEVELS_PER_TENFOLD,
    NUM_BINS,
    NUM_LEVELS,
    SHORTEST_S,
    Conversations,
    Engines,
    Floats,
    Ints,
    Tally,
)

_LEAST, _HASH, _EACH_REQUEST = (
    int(one) for one in (Policy.LEAST_RESERVED, Policy.CONSISTENT_HASH, Policy.REQUEST_ROUND_ROBIN)
)
SMOOTHING = 16
"""Of what conversations are expected to need; as in finish.lua."""


class Rules(NamedTuple):
    """What does not change in a run."""

    policy: int
    max_in_flight: int
    orchestrator_s: float
    bin_s: float


class Churn(NamedTuple):
    """Engines that are killed (`joins` 0) or join (1), by time."""

    at: Floats
    engines: Ints
    joins: Ints


class Moment(NamedTuple):
    """What the loop itself remembers, one number each."""

    next_talk: Ints
    in_flight: Ints
    ended: Ints
    expected: Ints
    busy: Ints
    alive: Ints
    memory: Ints  # [side, 2]: of policies, see `placement.chosen`
    since: Floats


@compiled
def level_of(seconds: float) -> int:
    """The place of a duration in a histogram of equal ratios."""
    if seconds <= SHORTEST_S:
        return 0
    return min(NUM_LEVELS - 1, int(math.log10(seconds / SHORTEST_S) * LEVELS_PER_TENFOLD) + 1)


@compiled
def count_busy(tally: Tally, moment: Moment, now: float, bin_s: float) -> None:
    """So many engines were busy until now."""
    place = min(NUM_BINS - 1, int(now / bin_s))
    tally.busy_by_time[place] += moment.busy[0] * (now - moment.since[0])
    moment.since[0] = now
    for number, share in enumerate(BUSY_SHARES):
        if moment.busy[0] >= share * moment.alive[0]:
            tally.busy_until[number] = now


@compiled
def start_waiting(
    engines: Engines, talks: Conversations, tally: Tally, moment: Moment, number: int, now: float
) -> float:
    """Begin whatever may begin at an engine, and look when its next utterance will be complete."""
    was_idle = engines.running[number] == 0
    while engines.waiting[number] > 0:
        seat = engines.first_waiting[number]
        if not engine.fits(engines, talks, number, seat):
            break
        engine.next_waiting(engines, talks, number)
        talk = engine.conversation_of(talks, seat)
        tally.waits[level_of(now - talks.asked_at[talk])] += 1
        engine.begin(engines, talks, tally, number, seat, now)
    if was_idle and engines.running[number] > 0:
        moment.busy[0] += 1
    return engine.look_ahead(engines, number)


@compiled
def claim(
    engines: Engines, talks: Conversations, moment: Moment, rules: Rules, now: float, events: list[tuple[float, int]]
) -> None:
    """Hand out conversations while there is room."""
    count = len(engines.reserved) // 2
    num_talks = len(talks.said)
    while moment.next_talk[0] < num_talks and moment.in_flight[0] < rules.max_in_flight:
        talk = moment.next_talk[0]
        if rules.policy == _LEAST:
            need = moment.expected[0]
            user = placement.least_reserved(
                engines.reserved[:count], engines.budget[:count], engines.is_alive[:count], need
            )
            other = placement.least_reserved(
                engines.reserved[count:], engines.budget[count:], engines.is_alive[count:], need
            )
            if user < 0 or other < 0:
                return
            talks.engine[talk], talks.engine[num_talks + talk] = user, count + other
            talks.need[talk] = need
            engines.reserved[user] += need
            engines.reserved[count + other] += need
        moment.next_talk[0] += 1
        moment.in_flight[0] += 1
        talks.started_at[talk] = now
        heapq.heappush(events, (now + rules.orchestrator_s, len(engines.reserved) + talk))


@compiled
def seat_of(talks: Conversations, talk: int) -> int:
    """Of who speaks next: users and assistants take turns."""
    return int((talks.said[talk] % 2) * len(talks.said) + talk)


@compiled
def placed(engines: Engines, talks: Conversations, tally: Tally, moment: Moment, rules: Rules, talk: int) -> int:
    """The engine that the next utterance is asked of; -1: none of its side is alive."""
    seat = seat_of(talks, talk)
    before = talks.engine[seat]
    is_moved = rules.policy == _EACH_REQUEST or rules.policy == _HASH
    if before >= 0 and engines.is_alive[before] and not is_moved:
        return int(before)
    side = talks.said[talk] % 2
    found = placement.chosen(rules.policy, engines, side, talk, moment.memory[2 * side : 2 * side + 2])
    if found < 0:
        return -1
    if before >= 0 and found != before:
        tally.moves[0] += 1
        if rules.policy == _LEAST:
            engines.reserved[before] -= talks.need[talk]
            engines.reserved[found] += talks.need[talk]
    talks.engine[seat] = found
    return int(found)


@compiled
def ask(
    engines: Engines,
    talks: Conversations,
    tally: Tally,
    moment: Moment,
    rules: Rules,
    talk: int,
    now: float,
    events: list[tuple[float, int]],
) -> None:
    """A conversation's next request goes out."""
    number = placed(engines, talks, tally, moment, rules, talk)
    if number < 0:
        heapq.heappush(events, (now + 1.0, len(engines.reserved) + talk))
        return
    talks.asked_at[talk] = now
    engine.follow(engines, number, now)
    engine.queue_up(engines, talks, number, seat_of(talks, talk))
    at = start_waiting(engines, talks, tally, moment, number, now)
    if at < np.inf:
        heapq.heappush(events, (at, number))


@compiled
def complete(
    engines: Engines,
    talks: Conversations,
    tally: Tally,
    moment: Moment,
    rules: Rules,
    number: int,
    now: float,
    events: list[tuple[float, int]],
) -> None:
    """The utterance that is due at an engine is complete: on with its conversation, and with who waits there."""
    engine.follow(engines, number, now)
    seat = engine.end_first(engines, talks, number)
    talk = engine.conversation_of(talks, seat)
    tokens = engine.utterance_tokens(talks, talk)
    block = engines.block_tokens[number]
    place = min(NUM_BINS - 1, int(now / rules.bin_s))
    tally.tokens_by_time[place] += tokens
    tally.latencies[level_of(now - talks.asked_at[talk])] += 1
    if engines.running[number] == 0:
        moment.busy[0] -= 1
    talks.sizes[talk] += talks.context[talk] + tokens
    own_next = talks.said[talk] + 2 < talks.first[talk + 1] - talks.first[talk]
    if own_next:
        tally.attainable_tokens[0] += (talks.context[talk] + tokens - 1) // block * block
    talks.context[talk] += tokens + talks.framing_tokens[0]
    talks.said[talk] += 1
    if talks.said[talk] < talks.first[talk + 1] - talks.first[talk]:
        on_the_way = engines.latency_s[number] + rules.orchestrator_s
        heapq.heappush(events, (now + on_the_way, len(engines.reserved) + talk))
    else:
        end(engines, talks, tally, moment, rules, talk, now)
        claim(engines, talks, moment, rules, now, events)
    at = start_waiting(engines, talks, tally, moment, number, now)
    if at < np.inf:
        heapq.heappush(events, (at, number))


@compiled
def end(
    engines: Engines, talks: Conversations, tally: Tally, moment: Moment, rules: Rules, talk: int, now: float
) -> None:
    """A conversation is over: give back what it reserved, and learn what the next ones need."""
    moment.in_flight[0] -= 1
    moment.ended[0] += 1
    tally.conversation_s[0] += now - talks.started_at[talk]
    if rules.policy != _LEAST:
        return
    for seat in (talk, len(talks.said) + talk):
        engines.reserved[talks.engine[seat]] -= talks.need[talk]
    held = math.ceil(HELD_MARGIN * talks.sizes[talk] / talks.said[talk])
    expected = moment.expected[0]
    moment.expected[0] = max(1, math.ceil(expected + (held - expected) / SMOOTHING))


@compiled
def kill(
    engines: Engines, talks: Conversations, tally: Tally, moment: Moment, rules: Rules, number: int, now: float,
    events: list[tuple[float, int]],
) -> None:  # fmt: skip
    """An engine is gone at once: whoever it was to answer asks elsewhere."""
    engine.follow(engines, number, now)
    if engines.running[number] > 0:
        moment.busy[0] -= 1
    moment.alive[0] -= 1
    for slot in range(engines.running[number]):
        talk = engine.conversation_of(talks, engines.slots[number, slot])
        done = engines.progress[number] - (engines.targets[number, slot] - engine.utterance_tokens(talks, talk))
        tally.repeated_tokens[0] += max(0, int(done))
        heapq.heappush(events, (now + rules.orchestrator_s, len(engines.reserved) + talk))
    seat = engine.next_waiting(engines, talks, number)
    while seat >= 0:
        talk = engine.conversation_of(talks, seat)
        heapq.heappush(events, (now + rules.orchestrator_s, len(engines.reserved) + talk))
        seat = engine.next_waiting(engines, talks, number)
    engine.stop(engines, talks, number)


@compiled
def run(engines: Engines, talks: Conversations, tally: Tally, rules: Rules, churn: Churn, first_need: int) -> float:
    """Follow all conversations to their ends; gives the seconds that it takes."""
    count = len(engines.reserved)
    moment = Moment(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.full(1, first_need),
        np.zeros(1, np.int64),
        np.full(1, engines.is_alive.sum()),
        np.array([-1, 0, -1, 1 << 40]),
        np.zeros(1),
    )
    events = [(0.0, 0)]
    events.pop()
    now, changes = 0.0, 0
    claim(engines, talks, moment, rules, now, events)
    while moment.ended[0] < len(talks.said):
        if changes < len(churn.at) and (not events or churn.at[changes] <= events[0][0]):
            now = churn.at[changes]
            count_busy(tally, moment, now, rules.bin_s)
            if churn.joins[changes] == 1:
                engines.is_alive[churn.engines[changes]] = True
                engines.at[churn.engines[changes]] = now
                moment.alive[0] += 1
                claim(engines, talks, moment, rules, now, events)
            else:
                kill(engines, talks, tally, moment, rules, churn.engines[changes], now, events)
            changes += 1
            continue
        at, number = heapq.heappop(events)
        if number < count:
            if engines.next_at[number] != at:
                continue  # what runs there has changed since
            now = at
            count_busy(tally, moment, now, rules.bin_s)
            complete(engines, talks, tally, moment, rules, number, now, events)
        else:
            now = at
            count_busy(tally, moment, now, rules.bin_s)
            ask(engines, talks, tally, moment, rules, number - count, now, events)
    return now
