"""An engine's answer as server-sent events, a token at a time, and what can go wrong in its middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from tests.fakes.faults import STALLED_FOR_S, Fault, hang_up

CUTS = frozenset({Fault.ABORTED, Fault.RESET, Fault.TRUNCATED, Fault.STALLED})
"""Faults that come after half of the tokens; the others spoil a stream as they spoil a whole answer."""

_FRAME = ("id", "object", "created", "model")
"""What each event repeats of an answer that has it."""


async def streamed(
    request: web.Request,
    answer: Mapping[str, Any],
    decode: Callable[[Sequence[int]], str],
    *,
    token_s: float,
    with_usage: bool,
    cut: Fault | None,
) -> tuple[web.StreamResponse, bool]:
    """Send an answer, `token_s` after each token; gives whether all of it went out too."""
    assert cut is None or cut in CUTS
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    choices = list(_choices(answer["choices"][0], decode))
    frame = {name: answer[name] for name in _FRAME if name in answer}
    try:
        await response.prepare(request)
        for choice in choices if cut is None else choices[: len(choices) // 2]:
            await response.write(_event({**frame, "choices": [choice]}))
            await asyncio.sleep(token_s)
        if cut is None:
            if with_usage:
                await response.write(_event({**frame, "choices": [], "usage": answer["usage"]}))
            await response.write(b"data: [DONE]\n\n")
        else:
            await _break_off(cut, request, response)
    except ConnectionError:
        return response, False
    return response, cut is None


async def _break_off(cut: Fault, request: web.Request, response: web.StreamResponse) -> None:
    match cut:
        case Fault.ABORTED:
            await response.write(_event({"choices": [{"index": 0, "token_ids": [], "finish_reason": "abort"}]}))
            await response.write(b"data: [DONE]\n\n")
        case Fault.RESET:
            hang_up(request)
        case Fault.STALLED:
            await asyncio.sleep(STALLED_FOR_S)


def _choices(choice: Mapping[str, Any], decode: Callable[[Sequence[int]], str]) -> Iterator[dict[str, Any]]:
    """A choice a token at a time, text as soon as its characters are whole; the last one carries why it ended."""
    ids, text = choice["token_ids"], ""
    for position, token_id in enumerate(ids):
        is_last = position == len(ids) - 1
        so_far = decode(ids[: position + 1])
        so_far = so_far if is_last else so_far.rstrip("\ufffd")
        reason = choice["finish_reason"] if is_last else None
        event = {"index": 0, "text": so_far[len(text) :], "token_ids": [token_id], "finish_reason": reason}
        if position == 0 and "prompt_token_ids" in choice:
            event["prompt_token_ids"] = choice["prompt_token_ids"]
        yield event
        text = so_far


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
