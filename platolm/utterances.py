"""What a speaker gives: an utterance; and what a speaker is, whoever generates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from platolm.endings import FinishReason
from platolm.simulators.cleaning import End
from platolm.simulators.told import Told
from platolm.speaker_profile import SpeakerProfile


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a speaker said: `content` is what is kept of it, cleaned by its profile.

    `token_ids` are as generated, without what ended the turn; `intact`: they are known, and those of the content, so
    that they may stand in the next prompt as they are. `end` says that it was a goodbye, `marker` which, and
    `goodbye_probability` how likely it was to be one, where that is known.
    `num_cached_tokens` is how much of the prompt the engine had in its prefix cache, None where it does not say. `api`
    is the chat API that said it, by the operator's name; None: an engine.
    """

    content: str
    token_ids: list[int]
    num_prompt_tokens: int
    finish_reason: FinishReason
    duration_s: float
    num_cached_tokens: int | None = None
    end: End | None = None
    marker: str | None = None
    intact: bool = True
    goodbye_probability: float | None = None
    api: str | None = None

    @property
    def num_tokens(self) -> int:
        """How many tokens were generated, without the one that ended the turn."""
        return len(self.token_ids)


class GrowingPrompt(Protocol):
    """A conversation as one side's next request shows it, grown turn by turn."""

    def add(self, role: str, content: str, content_ids: Sequence[int] | None = None) -> slice:
        """Take in a finished turn; gives where its content's ids lie, where it has any."""

    def content_ids(self, where: slice) -> list[int]:
        """The ids of a turn's content, by what `add` gave."""

    def __len__(self) -> int:
        """Its tokens."""


class Speaker(Protocol):
    """One side of a run's conversations: a `TokenSpeaker` before engines, or a `ChatSpeaker` before chat APIs.

    Each takes the prompts that it made, and asks what its side's place in a worker holds: an engine, or an API.
    """

    @property
    def profile(self) -> SpeakerProfile:
        """How it is prompted, and what is kept of what it says."""

    @property
    def role(self) -> str:
        """Whom it speaks for."""

    def model_of(self, api: str | None) -> str:
        """What generates, at a chat API where that is named."""

    def new_prompt(self, told: Told) -> GrowingPrompt:
        """An empty conversation as this side sees it."""

    def room(self, prompt: Any) -> int:
        """Tokens left for the utterance; none or less: the context is full."""

    def num_tokens(self, text: str) -> int:
        """Tokens of a text, where they cannot be told about so many."""

    def text_so_far(self, said: Any) -> str:
        """What is certain to be kept of an utterance in the making, of which `show` was given so much."""

    async def speak(
        self, place: Any, prompt: Any, *, seed: int, show: Callable[[Any], None] | None = None
    ) -> Utterance:
        """Have one utterance made. With `show` it is streamed, and `show` called with all that was said so far.

        Raises:
            SpeakerError: nothing was said.
        """
