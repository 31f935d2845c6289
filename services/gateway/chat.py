"""The engine's completion objects as OpenAI chat objects, whole or in chunks.

The official SDK types a chat reply's role as `assistant` and refuses another in strict mode, so the wire role is
`assistant` on both servers; who speaks is in the extension field `speaker` (`user` on the simulator), and how it was
prompted in `profile`. Whether the conversation is over is in another, `platolm`, beside a finish reason that is
OpenAI's: see `utterances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WIRE_ROLE = "assistant"
ENDING = "platolm"
"""The extension field of a choice."""
Json = dict[str, Any]


def chat_id(engine_id: str) -> str:
    """The engine's `cmpl-…` as `chatcmpl-…`."""
    return "chatcmpl-" + engine_id.removeprefix("cmpl-")


def chat_object(reply: Mapping[str, Any], *, model: str, speaker: str, profile: str, with_ids: bool) -> Json:
    """A `chat.completion` from the engine's `text_completion`."""
    result: Json = {
        "id": chat_id(reply["id"]),
        "object": "chat.completion",
        "created": reply["created"],
        "model": model,
        "choices": [_choice(choice, speaker, profile, with_ids=with_ids) for choice in reply["choices"]],
        "usage": reply["usage"],
    }
    if with_ids:
        result["prompt_token_ids"] = reply["choices"][0].get("prompt_token_ids")
    return result


def _choice(choice: Mapping[str, Any], speaker: str, profile: str, *, with_ids: bool) -> Json:
    result: Json = {
        "index": choice["index"],
        "message": {"role": WIRE_ROLE, "content": choice["text"], "speaker": speaker, "profile": profile},
        "logprobs": None,
        "finish_reason": choice["finish_reason"],
        "stop_reason": choice.get("stop_reason"),
    }
    if ENDING in choice:
        result[ENDING] = choice[ENDING]
    if with_ids:
        result["token_ids"] = choice.get("token_ids")
    return result


@dataclass
class ChatChunks:
    """Turns the engine's stream events into chat chunks: the role first, then text, then the finish reason."""

    model: str
    speaker: str
    profile: str
    with_ids: bool
    include_usage: bool
    _begun: set[int] = field(default_factory=set)

    def of(self, event: Mapping[str, Any]) -> list[Json]:
        """The chunks of one event; none for an event that says nothing new."""
        chunks: list[Json] = []
        for choice in event["choices"]:
            chunks.extend(self._of_choice(event, choice))
        if self.include_usage and event.get("usage") is not None:
            chunks.append({**self._frame(event), "choices": [], "usage": event["usage"]})
        return chunks

    def _of_choice(self, event: Mapping[str, Any], choice: Mapping[str, Any]) -> list[Json]:
        index = choice["index"]
        chunks = []
        if index not in self._begun:
            self._begun.add(index)
            who = {"speaker": self.speaker, "profile": self.profile}
            first = self._chunk(event, index, {"role": WIRE_ROLE, "content": "", **who})
            if self.with_ids:
                first["prompt_token_ids"] = choice.get("prompt_token_ids")
            chunks.append(first)
        if choice["text"] or (self.with_ids and choice.get("token_ids")):
            chunk = self._chunk(event, index, {"content": choice["text"]})
            if self.with_ids:
                chunk["choices"][0]["token_ids"] = choice.get("token_ids")
            chunks.append(chunk)
        if choice["finish_reason"] is not None:
            last = self._chunk(event, index, {})
            last["choices"][0]["finish_reason"] = choice["finish_reason"]
            last["choices"][0]["stop_reason"] = choice.get("stop_reason")
            if ENDING in choice:
                last["choices"][0][ENDING] = choice[ENDING]
            chunks.append(last)
        return chunks

    def _chunk(self, event: Mapping[str, Any], index: int, delta: Json) -> Json:
        choice: Json = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._frame(event), "choices": [choice]}

    def _frame(self, event: Mapping[str, Any]) -> Json:
        frame: Json = {
            "id": chat_id(event["id"]),
            "object": "chat.completion.chunk",
            "created": event["created"],
            "model": self.model,
        }
        if self.include_usage:  # as OpenAI: null on every chunk but the last
            frame["usage"] = None
        return frame
