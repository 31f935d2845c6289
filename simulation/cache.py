"""An engine's prefix cache: the blocks of conversations that nobody speaks in now, given up in the order of leaving.

As vLLM does it: a request's whole blocks stay when it ends; new ones are taken from the free, then from what was left
first, its last blocks before its first. The model keeps a conversation's blocks together and counts them.
"""

from __future__ import annotations

from simulation.compiled import compiled
from simulation.state import Conversations, Engines


@compiled
def leave(engines: Engines, talks: Conversations, engine: int, seat: int, blocks: int) -> None:
    """A request has ended; so many whole blocks of it stay."""
    talks.cached[seat], talks.cached_at[seat] = blocks, engine
    if blocks == 0:
        return
    engines.evictable[engine] += blocks
    last = engines.newest[engine]
    talks.before[seat], talks.after[seat] = last, -1
    if last >= 0:
        talks.after[last] = seat
    else:
        engines.oldest[engine] = seat
    engines.newest[engine] = seat


@compiled
def unlink(engines: Engines, talks: Conversations, engine: int, seat: int) -> None:
    """Take a conversation's blocks out of the order of eviction; they are no longer evictable."""
    before, after = talks.before[seat], talks.after[seat]
    if before >= 0:
        talks.after[before] = after
    else:
        engines.oldest[engine] = after
    if after >= 0:
        talks.before[after] = before
    else:
        engines.newest[engine] = before
    engines.evictable[engine] -= talks.cached[seat]


@compiled
def found(talks: Conversations, engine: int, seat: int) -> int:
    """Blocks of this conversation that the engine has."""
    return int(talks.cached[seat]) if talks.cached_at[seat] == engine else 0


@compiled
def take(engines: Engines, talks: Conversations, engine: int, blocks: int) -> int:
    """Use so many blocks, the free ones first; gives how many were to be had."""
    taken = min(blocks, engines.free[engine])
    engines.free[engine] -= taken
    while taken < blocks and engines.oldest[engine] >= 0:
        seat = engines.oldest[engine]
        part = min(blocks - taken, talks.cached[seat])
        if part == talks.cached[seat]:
            unlink(engines, talks, engine, seat)
        else:
            engines.evictable[engine] -= part
        talks.cached[seat] -= part
        taken += part
    return int(taken)


@compiled
def drop(engines: Engines, talks: Conversations, seat: int) -> None:
    """Forget a conversation where it was before: it goes on elsewhere (a real engine would keep it until evicted)."""
    if talks.cached[seat] > 0:
        engine = talks.cached_at[seat]
        unlink(engines, talks, engine, seat)
        engines.free[engine] += talks.cached[seat]
        talks.cached[seat] = 0


@compiled
def forget_all(engines: Engines, talks: Conversations, engine: int) -> None:
    """The engine is gone, and all that it had cached."""
    seat = engines.oldest[engine]
    while seat >= 0:
        talks.cached[seat] = 0
        seat = talks.after[seat]
    engines.oldest[engine] = engines.newest[engine] = -1
    engines.evictable[engine] = 0
    engines.free[engine] = engines.num_blocks[engine]
