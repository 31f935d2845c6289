"""The HTTP API of the original's simulator, for its old clients: `POST /generate`.

Its client reads the answer with Python's `eval` and takes the NameError that `null` raises for the session's end; so an
answer with a turn holds no JSON constant, and the end is `{"hisotry": null}`, spelled as the original does.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from platolm.conversation import ASSISTANT, USER
from services.gateway.schemas import ChatRequest

HUMAN = "Human"
_ROLES = {HUMAN: USER, "Assistant": ASSISTANT}

Turn = tuple[Literal["Human", "Assistant"], str]


class GenerateRequest(BaseModel):
    """`POST /generate`. Other fields (the original's `conv_template`) are ignored."""

    model_config = ConfigDict(extra="ignore")

    history: list[Turn] | None = Field(None, description="what was said so far, the assistant last; null: open")
    temperature: float | None = Field(None, ge=0, le=2)
    max_new_tokens: int | None = Field(None, ge=1)

    def as_chat(self) -> ChatRequest:
        """The same in OpenAI's terms."""
        messages = [{"role": _ROLES[name], "content": text} for name, text in self.history or []]
        return ChatRequest(messages=messages, temperature=self.temperature, max_tokens=self.max_new_tokens)


class GenerateReply(BaseModel):
    """One more turn of the human's; at the end of the session `hisotry` alone, null."""

    history: list[Turn] | None = None
    hisotry: None = None


def next_turn(history: list[Turn] | None, said: str) -> dict[str, Any]:
    """The answer with one more turn, stripped as the original's."""
    return {"history": [*(history or []), (HUMAN, said.strip())]}


def end_of_session() -> dict[str, Any]:
    return {"hisotry": None}
