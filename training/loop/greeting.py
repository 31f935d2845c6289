"""A word from each served model, so that "served" is not only said of a port."""

from __future__ import annotations

from typing import Any

import httpx

from platolm.errors import StackError
from platolm.stack.settings import HOST, LocalStackSettings

_TIMEOUT_S = 120.0
_MAX_TOKENS = 32


async def greet(settings: LocalStackSettings) -> dict[str, str]:
    """The simulator's opening and the respondent's answer to it.

    Raises:
        StackError: one does not answer.
    """
    async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as client:
        question = await _said(client, settings.simulator_port, [])
        answer = await _said(client, settings.respondent_port, [{"role": "user", "content": question or "Hello?"}])
    return {"question": question, "answer": answer}


async def _said(client: httpx.AsyncClient, port: int, messages: list[dict[str, str]]) -> str:
    url = f"http://{HOST}:{port}/v1"
    try:
        models = (await client.get(f"{url}/models")).raise_for_status().json()
        body = {"model": models["data"][0]["id"], "messages": messages, "max_tokens": _MAX_TOKENS, "seed": 0}
        answer: Any = (await client.post(f"{url}/chat/completions", json=body)).raise_for_status().json()
        return str(answer["choices"][0]["message"]["content"])
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise StackError(f"the new model at {url} does not answer: {error}") from error
