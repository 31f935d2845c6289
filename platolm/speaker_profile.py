"""What a run has to know of one kind of speaker, simulator or respondent, whose tokenizer is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from platolm.conversation import Message
from platolm.dyadic import Turn
from platolm.sampling import Sampling
from platolm.simulators.cleaning import Cleaned, StreamCleaner
from platolm.simulators.formats import PromptTokenizer
from platolm.simulators.guardrails import Fault, SaidTurn
from platolm.simulators.prompts import Prompts
from platolm.simulators.told import Told


class SpeakerProfile(Protocol):
    """A `platolm.simulators` profile, or one of `platolm.respondents`. It holds no state of a conversation."""

    @property
    def name(self) -> str:
        """By which a run spec chooses it."""

    @property
    def role(self) -> str:
        """Whom it speaks for."""

    @property
    def end_markers(self) -> tuple[str, ...]:
        """How its model says goodbye, in text."""

    def lacks(self, told: Told) -> str | None:
        """What it needs to be told and is not, in words; None where nothing is missing."""

    def system_text(self, told: Told) -> str | None:
        """What stands first in its prompt, or in the header of one.

        Raises:
            SpecError: an instruction names a field that there is not.
        """

    def prompts(self, tokenizer: PromptTokenizer) -> Prompts:
        """Its prompts in a tokenizer's ids.

        Raises:
            TokenizerError: the tokenizer lacks control tokens that the prompt is made of.
        """

    def messages(self, turns: Iterable[Message | Turn], told: Told) -> list[dict[str, str]]:
        """Messages of a chat request after which it speaks, where its tokenizer is not known."""

    def sampling(self, given: Sampling) -> Sampling:
        """The given values, and the profile's for the rest; what is None then is the model's own and not sent."""

    def spoken_ids(self, ids: Sequence[int], prompts: Prompts) -> list[int]:
        """Generated ids without the control token that ended the utterance."""

    def clean(self, text: str) -> Cleaned:
        """What is kept of an utterance, and whether it was a goodbye."""

    def stream_cleaner(self) -> StreamCleaner:
        """The same for one utterance that streams."""

    def fault_of(
        self, said: Cleaned, before: Sequence[SaidTurn], told: Told | None = None, *, min_turns: int = 0
    ) -> Fault | None:
        """What is wrong with a cleaned utterance after the turns `before`."""
