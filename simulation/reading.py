"""What the study's figures say, in sentences whose numbers come from the figures."""

from __future__ import annotations

from textwrap import fill

from simulation.placement import Policy
from simulation.scenarios import SCENARIOS
from simulation.study import Cell, Study

_OURS = Policy.LEAST_RESERVED


def readings(study: Study) -> list[str]:
    """Paragraphs."""
    texts = (_staying(study), _hash(study), _balance(study), _killed(study), _crowded(study))
    return [fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n" for text in texts]


def _staying(study: Study) -> str:
    away, ours = study.cell("mixed", Policy.REQUEST_ROUND_ROBIN), study.cell("mixed", _OURS)
    return (
        "**Staying pays.** Sent to another engine with each request, a conversation finds "
        f"{away.hit_share:.0%} of its prompt tokens in a cache instead of {ours.hit_share:.0%}, and the run reaches "
        f"{_ratio(away, ours)} of the conversations an hour. How much that is depends on the curve: on what a prompt "
        "token costs beside a step."
    )


def _hash(study: Study) -> str:
    hashed, ours = study.cell("mixed", Policy.CONSISTENT_HASH), study.cell("mixed", _OURS)
    equal, ours_equal = study.cell("equal", Policy.CONSISTENT_HASH), study.cell("equal", _OURS)
    return (
        "**A hash spreads conversations as dice do.** Some engines get many more than others and are at work for "
        f"longer: the tail is {hashed.tail_s[0]:.0f} s instead of {ours.tail_s[0]:.0f} s. The run reaches "
        f"{_ratio(hashed, ours)} of ours with mixed lengths and {_ratio(equal, ours_equal)} with equal ones. What "
        f"was left in the caches is found as often: {hashed.hits_of_attainable:.1%}, with reservations "
        f"{ours.hits_of_attainable:.1%}."
    )


def _balance(study: Study) -> str:
    ours, two = study.cell("unlike", _OURS), study.cell("unlike", Policy.POWER_OF_TWO)
    equal, two_equal = study.cell("equal", _OURS), study.cell("equal", Policy.POWER_OF_TWO)
    return (
        "**Reservations know sizes, not speeds.** Among engines that are alike, least reserved tokens, two at random "
        f"and plain round robin are within {_spread(study):.1%} of one another: what matters is that conversations "
        f"stay, and are spread evenly. With equal lengths ours reaches {_ratio(equal, two_equal)} of two at random: "
        "before the first conversations have ended it reserves the whole context for each, and so hands them out more "
        "slowly than the caches would bear. Where every second engine takes twice as long, ours keeps slow ones as "
        f"full as fast ones and reaches {_of_formula(ours)} of what the engines could do; two at random, which sees "
        f"requests pile up, reaches {_of_formula(two)}."
    )


def _killed(study: Study) -> str:
    ours, hashed = study.cell("killed", _OURS), study.cell("killed", Policy.CONSISTENT_HASH)
    calm = study.cell("mixed", _OURS)
    return (
        "**A fifth of the engines killed**, and back empty after three tenths of the run, cost "
        f"{1 - ours.conversations_per_h / calm.conversations_per_h:.1%} of the throughput. {ours.moves:,} times a side "
        f"of a conversation moves, and {ours.repeated_tokens:,} tokens are generated again. Conversations under way "
        "stay where they went when the engines come back, and new ones fill the empty engines first. A hash moves "
        f"{hashed.moves:,} times, half of them back to engines that have forgotten the conversation."
    )


def _crowded(study: Study) -> str:
    ours, robin = study.cell("crowded", _OURS), study.cell("crowded", Policy.ROUND_ROBIN)
    return (
        "**With twice as many conversations as the caches hold**, reservations keep the surplus in the queue: "
        f"{ours.hits_of_attainable:.1%} of what was left is found. Round robin lets them in, finds "
        f"{robin.hits_of_attainable:.1%} and reaches {_ratio(robin, ours)} of the conversations an hour, each of which "
        f"takes {robin.conversation_s / ours.conversation_s:.1f} times as long."
    )


def _of_formula(cell: Cell) -> str:
    return f"{cell.conversations_per_h / cell.formula_per_h:.0%}"


def _spread(study: Study) -> float:
    """The largest distance from the best, of the three policies in the scenarios of engines that are alike."""
    three = (Policy.LEAST_RESERVED, Policy.POWER_OF_TWO, Policy.ROUND_ROBIN)
    gaps = []
    for scenario in (one for one in SCENARIOS if one.name in ("equal", "mixed")):
        rates = [study.cell(scenario.name, policy).conversations_per_h for policy in three]
        gaps.append(1 - min(rates) / max(rates))
    return max(gaps)


def _ratio(one: Cell, other: Cell) -> str:
    return f"{one.conversations_per_h / other.conversations_per_h:.0%}"
