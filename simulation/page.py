"""Writes docs/simulation.md and its pictures from the study's results.

    python -m simulation.page

A test compares what is committed with what this would write.
"""

from __future__ import annotations

from pathlib import Path

from platolm.sizing.formula import ORCHESTRATOR_S
from platolm.storage import write_atomically
from simulation.placement import Policy
from simulation.plots import NAMES, hits_picture, killed_picture, throughput_picture
from simulation.reading import readings
from simulation.scenarios import SCENARIOS
from simulation.study import MANY_POLICIES, MANY_SCENARIO, Cell, Study, read_study

DOCS = Path(__file__).parent.parent / "docs"
PICTURES = "simulation"

_HEAD = """# The simulation: a hundred replicas a side

Written by `python -m simulation.page` from simulation/results.json; `python -m simulation.study` runs what is missing.

What does placement do on machines that nobody here has? `simulation/` follows every conversation of a run through
engines that are given by a curve ([sizing](sizing.md#curves)): how long a step of continuous batching takes by
batch, what a prompt adds, what the KV cache holds. Conversations are claimed, placed and given back as the
orchestrator's scripts do it; a test asks the scripts in Redis and the model the same questions. {replicas} replicas
a side, {conversations} conversations a cell and {many} in the largest.

The engines are the demo models' on one core of the machine that measured the curve ({hardware}), {kv} tokens of KV
cache each. Other curves: `python -m simulation.study --curve FILE --out FILE`. Ratios between policies carry over
to other engines as far as their batches and caches are alike; conversations an hour do not.

## Policies

| | |
|---|---|
| {least_reserved} | ours: once for a conversation, where the fewest tokens are reserved, and only where there is room |
| {power_of_two} | once for a conversation, of two engines at random the one with fewer requests |
| {round_robin} | once for a conversation, one engine after the other |
| {consistent_hash} | by the conversation's hash (rendezvous); an engine that goes or comes moves only its own |
| {request_round_robin} | each request to the next engine, as a proxy does that knows nothing |

All have the same number of conversations in flight: what the KV caches hold, by what conversations reserve.
"""

_LIMITS = """## What the model leaves out

- It is fluid: between two events of an engine its step has one length, and tokens are not counted one by one.
  Against a run that is followed step by step, at small size, its time is within 4 % and its cache hits within 6 %
  (tests/unit/simulation).
- A request begins when the blocks for its prompt and its whole utterance are to be had. vLLM begins earlier, and
  preempts when blocks run out; where caches are too small the model is kind to policies that overfill them.
- An engine forgets a conversation at once when that goes on elsewhere. A real one keeps its blocks until they are
  needed.
- Conversations share no prefix but their own. A killed engine is noticed at once. The orchestrator takes
  {orchestrator_ms:.0f} ms between two utterances, always.
- Lengths are drawn, not recorded, and no model was asked.

How far it is from a real run on two cores: [sizing](sizing.md#checked).
"""


def page(study: Study) -> str:
    """docs/simulation.md."""
    first = study.cell(SCENARIOS[0].name, Policy.LEAST_RESERVED)
    many = max(cell.conversations for cell in study.cells)
    head = _HEAD.format(
        replicas=f"{first.replicas:,}",
        conversations=f"{first.conversations:,}",
        many=f"{many:,}",
        hardware=study.curve.hardware.partition(":")[0],
        kv=f"{study.curve.kv_tokens:,}",
        **{policy.name.lower(): NAMES[policy] for policy in Policy},
    )
    return "\n".join(
        [
            head,
            "## Throughput\n",
            f"![Conversations an hour by scenario and policy]({PICTURES}/throughput.svg)\n",
            *(f"- *{scenario.name}*: {scenario.about}" for scenario in SCENARIOS),
            "",
            _table(study),
            "## Reading\n",
            *readings(study),
            "## Caches\n",
            f"![Prompt tokens found in a cache]({PICTURES}/hits.svg)\n",
            "## A fifth of the engines is killed\n",
            f"![Engines at work over time]({PICTURES}/killed.svg)\n",
            "## A million conversations\n",
            _many_table(study, many),
            _LIMITS.format(orchestrator_ms=1000 * ORCHESTRATOR_S),
        ]
    )


def pictures(study: Study) -> dict[str, str]:
    """SVG by file name."""
    return {
        "throughput.svg": throughput_picture(study),
        "hits.svg": hits_picture(study),
        "killed.svg": killed_picture(study),
    }


def main() -> None:
    """Write the page and its pictures."""
    study = read_study()
    for name, text in pictures(study).items():
        write_atomically(DOCS / PICTURES / name, text.encode())
    write_atomically(DOCS / "simulation.md", page(study).encode())


def _table(study: Study) -> str:
    head = [
        "| scenario | policy | conversations/hour | of the formula's | prompt tokens cached | of what was left | "
        "utterance, s: median, 99 % | waits at an engine, mean, s | tail, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = [_row(study.cell(scenario.name, policy), policy) for scenario in SCENARIOS for policy in Policy]
    return "\n".join([*head, *rows]) + (
        "\n\n*of the formula's*: what `platolm size` gives for these engines, all alive, every prefix found. *of what "
        "was left*: of the tokens that a\nconversation's earlier requests left for its later ones. *tail*: time at the "
        "end with less than nine in ten engines at work.\n"
    )


def _row(cell: Cell, policy: Policy) -> str:
    return (
        f"| {cell.scenario} | {NAMES[policy]} | {cell.conversations_per_h:,.0f} | "
        f"{cell.conversations_per_h / cell.formula_per_h:.3f} | {cell.hit_share:.1%} | {cell.hits_of_attainable:.1%} | "
        f"{cell.utterance_p50_s:.2f}, {cell.utterance_p99_s:.2f} | {cell.mean_wait_s:.2f} | {cell.tail_s[0]:.0f} |"
    )


def _many_table(study: Study, many: int) -> str:
    rows = [
        "| policy | conversations/hour | of the formula's | tail, s | of the run | simulated in |",
        "|---|---|---|---|---|---|",
    ]
    for policy in MANY_POLICIES:
        cell = study.cell(MANY_SCENARIO, policy, many)
        rows.append(
            f"| {NAMES[policy]} | {cell.conversations_per_h:,.0f} | "
            f"{cell.conversations_per_h / cell.formula_per_h:.3f} | "
            f"{cell.tail_s[0]:.0f} | {cell.tail_s[0] / cell.seconds:.1%} | {cell.processor_s:.0f} s |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
