"""A dataset's record as these tests need it."""

from __future__ import annotations

from typing import Any

from platolm.conversation import ASSISTANT, USER

NAMES = {USER: "human", ASSISTANT: "gpt"}


def turn(
    role: str, num_prompt_tokens: int, token_ids: list[int] | None, finish_reason: str = "stop", seed: int = 7
) -> dict[str, Any]:
    return {
        "role": role,
        "num_tokens": len(token_ids or []),
        "num_prompt_tokens": num_prompt_tokens,
        "finish_reason": finish_reason,
        "sampling_seed": seed,
        "token_ids": token_ids,
    }


def record(index: int, turns: list[dict[str, Any]], texts: list[str]) -> dict[str, Any]:
    said = [{"from": NAMES[one["role"]], "value": text} for one, text in zip(turns, texts, strict=True)]
    return {"id": f"run-{index:08d}", "index": index, "conversations": said, "turns": turns}
