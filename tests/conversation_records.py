"""Finished conversations as workers write them."""

from __future__ import annotations

from platolm.dataset import ConversationRecord, SideRecord, TurnRecord
from platolm.sampling import PAPERS_SAMPLING, Sampling


def side(profile: str) -> SideRecord:
    return SideRecord(
        profile=profile, model=f"org/{profile}", sampling=Sampling(**PAPERS_SAMPLING).model_dump(), system_prompt=None
    )


def record_json(index: int, run_id: str = "run-a", text: str = "é\u2028✓\n") -> str:
    """A conversation of one round."""
    turns = [
        TurnRecord(role="user", num_tokens=2, finish_reason="seed"),
        TurnRecord(
            role="assistant", num_tokens=2, num_prompt_tokens=9, finish_reason="stop", sampling_seed=2**31 - 1,
            duration_s=0.25, token_ids=[7, 128_000],
        ),
    ]  # fmt: skip
    return ConversationRecord(
        id=f"{run_id}-{index:08d}",
        run_id=run_id,
        index=index,
        conversations=[{"from": "human", "value": f"{text}{index}"}, {"from": "gpt", "value": "yes"}],
        num_rounds=1,
        termination_reason="turn_limit",
        simulator=side("socratic"),
        respondent=side("platolm"),
        seed=2**63 - 1,
        seed_mode="question",
        seed_line=3,
        turns=turns,
        started_at=1.5,
        finished_at=2.75,
    ).model_dump_json()
