"""One engine under continuous batching, in the fluid limit: steps are not counted one by one.

While n requests run that hold c tokens, each gets a token every step(n, c) seconds; a new request makes all wait for
request_s and for the tokens of its prompt that are not cached. Between two events of an engine its step is constant.
A request begins, in the order of coming, when a slot is free and the blocks for its prompt *and* its whole utterance
are to be had: vLLM begins earlier and may have to preempt, which the model does not.
"""

from __future__ import annotations

import numpy as np

from simulation import cache
from simulation.compiled import compiled
from simulation.state import Conversations, Engines, Tally


@compiled
def follow(engines: Engines, engine: int, now: float) -> None:
    """Bring an engine to this moment."""
    passed = now - engines.at[engine]
    engines.at[engine] = now
    if engines.running[engine] == 0:
        return
    engines.busy_s[engine] += passed
    stalled = min(engines.debt_s[engine], passed)
    engines.debt_s[engine] -= stalled
    steps = (passed - stalled) / engines.step_s[engine]
    engines.progress[engine] += steps
    engines.held[engine] += steps * engines.running[engine]


@compiled
def look_ahead(engines: Engines, engine: int) -> float:
    """Set the step for what runs now; gives when the next utterance will be complete, never where nothing runs."""
    running = engines.running[engine]
    if running == 0:
        engines.next_at[engine] = np.inf
        return np.inf
    step_s = engines.step_table[engine, running] + engines.held[engine] * engines.context_token_s[engine]
    engines.step_s[engine] = step_s
    left = max(0.0, engines.earliest[engine] - engines.progress[engine])
    engines.next_at[engine] = engines.at[engine] + engines.debt_s[engine] + left * step_s
    return float(engines.next_at[engine])


@compiled
def conversation_of(talks: Conversations, seat: int) -> int:
    return int(seat % len(talks.said))


@compiled
def utterance_tokens(talks: Conversations, talk: int) -> int:
    """Of the utterance that comes next."""
    return int(talks.tokens[talks.first[talk] + talks.said[talk]])


@compiled
def queue_up(engines: Engines, talks: Conversations, engine: int, seat: int) -> None:
    """A request has come."""
    talks.waits_before[seat] = -1
    last = engines.last_waiting[engine]
    if last >= 0:
        talks.waits_before[last] = seat
    else:
        engines.first_waiting[engine] = seat
    engines.last_waiting[engine] = seat
    engines.waiting[engine] += 1


@compiled
def next_waiting(engines: Engines, talks: Conversations, engine: int) -> int:
    """Take out who came first; -1: nobody waits."""
    seat = engines.first_waiting[engine]
    if seat >= 0:
        engines.first_waiting[engine] = talks.waits_before[seat]
        if engines.first_waiting[engine] < 0:
            engines.last_waiting[engine] = -1
        engines.waiting[engine] -= 1
    return int(seat)


@compiled
def fits(engines: Engines, talks: Conversations, engine: int, seat: int) -> bool:
    """Whether the request may begin. An engine that does nothing takes any."""
    if engines.running[engine] == 0:
        return True
    if engines.running[engine] >= engines.max_batch[engine]:
        return False
    talk = conversation_of(talks, seat)
    block = engines.block_tokens[engine]
    whole = -((-talks.context[talk] - utterance_tokens(talks, talk)) // block)
    # What it finds is evictable until it begins: it counts once on either side.
    return bool(whole <= engines.free[engine] + engines.evictable[engine])


@compiled
def begin(engines: Engines, talks: Conversations, tally: Tally, engine: int, seat: int, now: float) -> None:
    """Start a request; `follow` has been called."""
    talk = conversation_of(talks, seat)
    prompt, tokens = talks.context[talk], utterance_tokens(talks, talk)
    block = engines.block_tokens[engine]
    hit = cache.found(talks, engine, seat)
    if hit > 0:
        cache.unlink(engines, talks, engine, seat)
    else:
        cache.drop(engines, talks, seat)
    cache.take(engines, talks, engine, -(-(prompt + tokens) // block) - hit)
    talks.cached_at[seat], talks.cached[seat] = -1, 0
    engines.debt_s[engine] += engines.request_s[engine] + (prompt - hit * block) * engines.prefill_token_s[engine]
    slot = engines.running[engine]
    target = engines.progress[engine] + tokens
    engines.slots[engine, slot], engines.targets[engine, slot] = seat, target
    engines.earliest[engine] = min(engines.earliest[engine], target)
    engines.running[engine] += 1
    engines.held[engine] += prompt
    tally.prompt_tokens[0] += prompt
    tally.hit_tokens[0] += hit * block
    tally.waited_s[0] += now - talks.asked_at[talk]


@compiled
def end_first(engines: Engines, talks: Conversations, engine: int) -> int:
    """Complete the utterance that is due; gives its seat. Its whole blocks stay cached."""
    slot = int(np.argmin(engines.targets[engine, : engines.running[engine]]))
    seat = int(engines.slots[engine, slot])
    engines.progress[engine] = engines.targets[engine, slot]
    last = engines.running[engine] - 1
    engines.slots[engine, slot] = engines.slots[engine, last]
    engines.targets[engine, slot] = engines.targets[engine, last]
    engines.running[engine] = last
    talk = conversation_of(talks, seat)
    size = talks.context[talk] + utterance_tokens(talks, talk)
    block = engines.block_tokens[engine]
    kept = (size - 1) // block
    engines.free[engine] = min(engines.num_blocks[engine], engines.free[engine] - (-size // block) - kept)
    cache.leave(engines, talks, engine, seat, kept)
    engines.generated[engine] += utterance_tokens(talks, talk)
    if last == 0:
        engines.held[engine], engines.earliest[engine] = 0.0, np.inf
        return seat
    engines.held[engine] = max(0.0, engines.held[engine] - size)
    engines.earliest[engine] = engines.targets[engine, :last].min()
    return seat


@compiled
def stop(engines: Engines, talks: Conversations, engine: int) -> None:
    """The engine is killed; whoever ran or waited there has to be asked for elsewhere (by the caller, before)."""
    cache.forget_all(engines, talks, engine)
    engines.is_alive[engine] = False
    engines.running[engine] = engines.waiting[engine] = 0
    engines.first_waiting[engine] = engines.last_waiting[engine] = -1
    engines.held[engine] = engines.debt_s[engine] = 0.0
    engines.earliest[engine] = engines.next_at[engine] = np.inf
