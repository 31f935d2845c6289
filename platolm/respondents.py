"""Respondent profiles: how the models that answer are prompted where their tokenizer is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from platolm.conversation import ASSISTANT, Message
from platolm.dyadic import PLATOLM, Turn
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.simulators.cleaning import Cleaned, Cleaning, StreamCleaner
from platolm.simulators.dyadic_prompts import DyadicPrompts
from platolm.simulators.formats import PromptTokenizer, format_of
from platolm.simulators.guardrails import Fault, SaidTurn
from platolm.simulators.prompts import Prompts, TemplatePrompts, without_turn_end
from platolm.simulators.told import Told
from platolm.simulators.view import Orientation, View, chat_messages

_IN_OWN_ROLES = View(Orientation.REAL, speaker=ASSISTANT)


class RespondentProfile(ABC):
    """One way to prompt an assistant: told the run's system prompt alone, kept as it writes."""

    name: str
    about: str
    """One sentence for whoever chooses."""
    role = ASSISTANT
    end_markers: tuple[str, ...] = ()

    own_sampling: bool = False
    """Whether what the spec does not say is left to the model: such fields are not sent."""

    _cleaning = Cleaning(strips=False, drops_thought=False)

    @abstractmethod
    def prompts(self, tokenizer: PromptTokenizer) -> Prompts:
        """Its prompts in a tokenizer's ids.

        Raises:
            TokenizerError: the tokenizer lacks control tokens that the prompt is made of.
        """

    def messages(self, turns: Iterable[Message | Turn], told: Told) -> list[dict[str, str]]:
        """Messages of a chat request after which the assistant speaks: the API's own format, whatever this one's is."""
        return chat_messages(turns, _IN_OWN_ROLES, self.system_text(told))

    def lacks(self, told: Told) -> str | None:
        """Nothing: an assistant answers whatever it is told."""
        return None

    def system_text(self, told: Told) -> str | None:
        return told.system_prompt or None

    def sampling(self, given: Sampling) -> Sampling:
        return given if self.own_sampling else given.or_else(PAPERS_SAMPLING)

    def spoken_ids(self, ids: Sequence[int], prompts: Prompts) -> list[int]:
        """Generated ids without the control token that ended the utterance."""
        return without_turn_end(ids, prompts)

    def clean(self, text: str) -> Cleaned:
        return self._cleaning.clean(text)

    def stream_cleaner(self) -> StreamCleaner:
        return StreamCleaner(self._cleaning)

    def fault_of(
        self, said: Cleaned, before: Sequence[SaidTurn], told: Told | None = None, *, min_turns: int = 0
    ) -> Fault | None:
        """None: an answer has no faults, only endings."""
        return None


class PlatoLM(RespondentProfile):
    """The dyadic format, with its own header."""

    name = "platolm"
    about = "PlatoLM, and models that were trained as it was."
    dyadic = PLATOLM

    def prompts(self, tokenizer: PromptTokenizer) -> DyadicPrompts:
        return DyadicPrompts(self.dyadic, tokenizer, self.system_text)


class Chat(RespondentProfile):
    """Any chat model, in the format whose control tokens its tokenizer has; sampled as the model wants it."""

    name = "chat"
    about = "Any chat model, in its own format."
    own_sampling = True

    def prompts(self, tokenizer: PromptTokenizer) -> TemplatePrompts:
        return TemplatePrompts(format_of(tokenizer), _IN_OWN_ROLES, tokenizer, self.system_text)


RESPONDENTS: Mapping[str, RespondentProfile] = {profile.name: profile for profile in (PlatoLM(), Chat())}
"""Every profile by its name."""
