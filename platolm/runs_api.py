"""Answers of the orchestrator's HTTP API that are more than a run's progress; server and clients share them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from platolm.conversation import TerminationReason
from platolm.dataset import ManifestEntry
from platolm.marks import Mark
from platolm.runs import DeadConversation, RunProgress

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
"""Conversations in one answer of `GET /v1/runs/{id}/conversations`."""


class ConversationState(StrEnum):
    """Where a conversation is in its life, as the API shows it."""

    QUEUED = "queued"
    """Waits for a worker; it may have turns already."""
    IN_FLIGHT = "in_flight"
    FINISHED = "finished"
    DEAD = "dead"


class DatasetFormat(StrEnum):
    """What `GET /v1/runs/{id}/dataset` streams."""

    SHAREGPT = "sharegpt"
    """Records as they are, JSON lines: ShareGPT's `conversations` with everything that is known beside them."""
    OPENAI = "openai"
    """JSON lines of `id` and OpenAI `messages`."""
    PARQUET = "parquet"
    """One Parquet file, a row for each record."""

    @property
    def suffix(self) -> str:
        """Of a file in this format: `.sharegpt.jsonl`, `.openai.jsonl`, `.parquet`."""
        return ".parquet" if self is DatasetFormat.PARQUET else f".{self}.jsonl"


class _Answer(BaseModel):
    """A newer server may say more."""

    model_config = ConfigDict(extra="ignore")


class RunList(_Answer):
    """`GET /v1/runs`, newest first."""

    runs: list[RunProgress]


MANIFEST_PAGE = 256
"""Entries of one answer; an entry names each conversation of its segment, some thousands."""


class Manifest(_Answer):
    """`GET /v1/runs/{id}/manifest`."""

    entries: list[ManifestEntry]


class DeadList(_Answer):
    """`GET /v1/runs/{id}/dead`."""

    dead: list[DeadConversation]


class ResumeRequest(BaseModel):
    """Body of `POST /v1/runs/{id}/resume`; there may be none."""

    model_config = ConfigDict(extra="forbid")

    budget: float | None = Field(
        None, gt=0, le=1e6, allow_inf_nan=False, description="what the run may spend on chat APIs from now on, in all"
    )


class RetriedDead(_Answer):
    """`POST /v1/runs/{id}/retry-dead`."""

    retried: int = Field(description="conversations that were handed out again")
    run: RunProgress


class ProfileChoice(_Answer):
    """Whom a side can be, as `profile` of a spec."""

    name: str
    about: str = Field(description="one sentence")
    needs: list[str] = Field(description="of these it has to be told one at least, by seeds or by a system_prompt")
    sampling: dict[str, float] = Field(description="its defaults; what is missing is the model's own")


class ProfileList(_Answer):
    """`GET /v1/profiles`."""

    simulators: list[ProfileChoice]
    respondents: list[ProfileChoice]


class ConversationSummary(_Answer):
    """One conversation in a list. Turns are utterances of both sides, two make a round."""

    id: str
    index: int
    state: ConversationState
    num_turns: int = 0
    num_rounds: int = 0
    termination_reason: TerminationReason | None = None
    error: str | None = Field(None, description="why it is dead, or what failed last")


class ConversationPage(_Answer):
    """`GET /v1/runs/{id}/conversations`; `next_cursor` asks for what follows, None: that was all."""

    conversations: list[ConversationSummary]
    next_cursor: str | None = None


class ConversationTurn(BaseModel):
    """One utterance; what else is known of it (tokens, finish reason, …) comes beside it."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str


class ConversationDetail(_Answer):
    """`GET /v1/conversations/{id}`: its turns so far, and its record once it is finished."""

    id: str
    run_id: str
    index: int
    state: ConversationState
    attempts: int = Field(0, description="failures in a row without a new utterance")
    error: str | None = None
    turns: list[ConversationTurn] = Field(default_factory=list)
    record: dict[str, Any] | None = Field(None, description="as the dataset holds it; None until it is finished")
    mark: Mark | None = Field(None, description="what a person thinks of it")
