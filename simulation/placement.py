"""Where conversations go: as the orchestrator places them, and as others do.

`least_reserved` is `choose` of services/orchestrator/queue/scripts/claim.lua, `fewest_reserved` is place.lua; a test
asks the scripts and these functions in the same cases.
"""

from __future__ import annotations

from enum import IntEnum

from simulation.compiled import compiled
from simulation.state import Engines, Flags, Ints


class Policy(IntEnum):
    """How an engine is found for a conversation, on each side alone.

    LEAST_RESERVED: once, where the fewest tokens are reserved, and only where there is room: the orchestrator's.
    POWER_OF_TWO: once, of two at random the one with fewer requests.
    ROUND_ROBIN: once, one engine after the other.
    CONSISTENT_HASH: by a hash of the conversation (rendezvous: the engine with the highest hash with it).
    REQUEST_ROUND_ROBIN: for each utterance anew, one engine after the other, as a proxy does that knows nothing.
    """

    LEAST_RESERVED = 0
    POWER_OF_TWO = 1
    ROUND_ROBIN = 2
    CONSISTENT_HASH = 3
    REQUEST_ROUND_ROBIN = 4


_LEAST, _TWO, _ROBIN, _HASH = (
    int(one) for one in (Policy.LEAST_RESERVED, Policy.POWER_OF_TWO, Policy.ROUND_ROBIN, Policy.CONSISTENT_HASH)
)


_PRIME = 2**31 - 1


@compiled
def least_reserved(reserved: Ints, budget: Ints, is_alive: Flags, need: int) -> int:
    """The engine with room and the fewest reserved tokens, the first of equals; -1: none has room.

    An empty one takes any conversation, and a budget of 0 says nothing.
    """
    best = -1
    for engine in range(len(reserved)):
        tokens = reserved[engine]
        if not is_alive[engine] or not (tokens == 0 or budget[engine] == 0 or tokens + need <= budget[engine]):
            continue
        if best < 0 or tokens < reserved[best]:
            best = engine
    return best


@compiled
def fewest_reserved(reserved: Ints, is_alive: Flags) -> int:
    """The engine with the fewest reserved tokens, whatever its room: for a conversation that is under way."""
    best = -1
    for engine in range(len(reserved)):
        if is_alive[engine] and (best < 0 or reserved[engine] < reserved[best]):
            best = engine
    return best


@compiled
def mixed(value: int) -> int:
    """A hash of a number below 2^62, itself below 2^31: rounds of a Lehmer generator, which 64 bits hold."""
    state = value % _PRIME + 1
    for _ in range(3):
        state = state * 48271 % _PRIME
        state ^= state >> 13
        state = (state + value // _PRIME) * 69621 % _PRIME
        state ^= state >> 9
    return state


@compiled
def by_hash(is_alive: Flags, talk: int) -> int:
    """The engine with the highest hash together with the conversation: one that comes or goes moves only its own."""
    best, highest = -1, -1
    for engine in range(len(is_alive)):
        value = mixed(((talk + 1) << 20) + engine)
        if is_alive[engine] and (best < 0 or value > highest):
            best, highest = engine, value
    return best


@compiled
def by_turns(is_alive: Flags, last: Ints) -> int:
    """The next engine that is alive; `last` holds the one before, and is changed."""
    for _ in range(len(is_alive)):
        last[0] = (last[0] + 1) % len(is_alive)
        if is_alive[last[0]]:
            return int(last[0])
    return -1


@compiled
def of_two(is_alive: Flags, requests: Ints, draw: Ints) -> int:
    """Of two living engines at random the one with fewer requests; `draw` counts the random numbers."""
    best = -1
    for _ in range(2):
        found = -1
        while found < 0 and is_alive.any():
            draw[0] += 1
            candidate = mixed(draw[0]) % len(is_alive)
            if is_alive[candidate]:
                found = candidate
        if best < 0 or (found >= 0 and requests[found] < requests[best]):
            best = found
    return best


@compiled
def chosen(policy: int, engines: Engines, side: int, talk: int, memory: Ints) -> int:
    """An engine of a side for a conversation under `policy`, whatever its room; -1: none is alive.

    `memory` is the side's: the last one's number and a count of random draws.
    """
    count = len(engines.reserved) // 2
    first = side * count
    is_alive = engines.is_alive[first : first + count]
    if policy == _LEAST:
        best = fewest_reserved(engines.reserved[first : first + count], is_alive)
    elif policy == _TWO:
        requests = engines.running[first : first + count] + engines.waiting[first : first + count]
        best = of_two(is_alive, requests, memory[1:])
    elif policy == _HASH:
        best = by_hash(is_alive, talk)
    else:
        best = by_turns(is_alive, memory[:1])
    return first + best if best >= 0 else -1
