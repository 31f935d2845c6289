"""What a simulator profile is: everything that this project has to know of a user simulator, in one class."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from platolm.conversation import USER, Message
from platolm.dyadic import Turn
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.simulators.cleaning import Cleaned, Cleaning, StreamCleaner
from platolm.simulators.formats import PromptTokenizer, TurnFormat, format_of
from platolm.simulators.guardrails import NO_GUARDRAILS, Fault, Guardrails, SaidTurn
from platolm.simulators.prompts import Prompts, TemplatePrompts, without_turn_end
from platolm.simulators.told import Told, render
from platolm.simulators.view import Orientation, View, chat_messages

_EVERYTHING_SAID = ("system_prompt", "persona", "profile", "intent", "goal")


class SimulatorProfile(ABC):
    """One kind of user simulator. A profile holds no state of a conversation: one object serves them all.

    A new profile is a module with a subclass, and a line in `platolm.simulators`. It must give `name`, `about`
    and `system_text`; the rest has defaults that fit a chat model. What it says serves token prompts to vLLM
    (`prompts`), messages to any OpenAI-compatible API (`messages`), and the model server's next user turn.
    """

    name: str
    """By which a run spec chooses it."""

    about: str
    """One sentence for whoever chooses."""

    model_ids: ClassVar[re.Pattern[str] | None] = None
    """Found in the ids of its models (the last part of a path, lower case); None: never chosen by an id."""

    orientation: Orientation = Orientation.REAL
    """Which role the simulated user has in the prompt."""

    turn_format: TurnFormat | None = None
    """How turns are written in ids; None: as the tokenizer's control tokens tell."""

    opener: str | None = None
    """What the assistant says before an inverted simulator opens; in the prompt alone."""

    needs: tuple[str, ...] = ()
    """Fields of `Told` of which it wants one to be said; none: it can do without."""

    told_order: tuple[str, ...] = _EVERYTHING_SAID
    """In which order `described` puts them."""

    cleaning: Cleaning = Cleaning()
    guardrails: Guardrails = Guardrails()

    sampling_defaults: ClassVar[Mapping[str, float | int]] = {}
    """Fields of `Sampling` with another default than the project's."""

    own_sampling: bool = False
    """Whether what neither the spec nor the profile says is left to the model: such fields are not sent."""

    @property
    def role(self) -> str:
        """Whom it speaks for."""
        return USER

    @abstractmethod
    def system_text(self, told: Told) -> str | None:
        """What stands first in the prompt; None: nothing does. An instruction comes before the profile's own way.

        Raises:
            SpecError: the instruction names a field that there is not.
        """

    def described(self, told: Told, *, joined_by: str = "\n\n") -> str | None:
        """The instruction rendered, if there is one; else everything that is told."""
        if told.instruction is not None:
            return self.rendered(told.instruction, told)
        return joined_by.join(told.said(*self.told_order)) or None

    def rendered(self, instruction: str, told: Told) -> str | None:
        """An instruction with its fields filled in; `{end_marker}` is how the simulator says goodbye.

        Raises:
            SpecError: it names a field that there is not.
        """
        return render(instruction, told, end_marker=next(iter(self.cleaning.end_markers), "")) or None

    def lacks(self, told: Told) -> str | None:
        """What it needs to be told and is not, in words; None where nothing is missing."""
        if not self.needs or told.instruction or told.said("system_prompt", *self.needs):
            return None
        return " or ".join(self.needs)

    @property
    def end_markers(self) -> tuple[str, ...]:
        """How its model says goodbye. As stop strings only where the engine tells which one stopped it, as vLLM."""
        return self.cleaning.end_markers

    def prompts(self, tokenizer: PromptTokenizer) -> Prompts:
        """Its prompts in a tokenizer's ids; make it once for a tokenizer.

        Raises:
            TokenizerError: the tokenizer lacks control tokens that the prompt is made of.
        """
        form = self.turn_format or format_of(tokenizer)
        return TemplatePrompts(form, self._view, tokenizer, self.system_text, self.end_markers)

    def messages(self, turns: Iterable[Message | Turn], told: Told) -> list[dict[str, str]]:
        """Messages of a chat request after which the simulator speaks; `turns` without system messages."""
        return chat_messages(turns, self._view, self.system_text(told))

    def spoken_ids(self, ids: Sequence[int], prompts: Prompts) -> list[int]:
        """Generated ids without the control token that ended the utterance; an end marker stays, for `clean`."""
        return without_turn_end(ids, prompts)

    def clean(self, text: str) -> Cleaned:
        """What is kept of an utterance, and whether it was a goodbye."""
        return self.cleaning.clean(text)

    def stream_cleaner(self) -> StreamCleaner:
        """The same for one utterance that streams."""
        return StreamCleaner(self.cleaning)

    def fault_of(
        self, said: Cleaned, before: Sequence[SaidTurn], told: Told | None = None, *, min_turns: int = 0
    ) -> Fault | None:
        """What is wrong with a cleaned utterance after the turns `before`; see `guardrails.Tries` for what to do.

        `min_turns` is the run's own; the larger of it and the profile's holds.
        """
        guardrails = self.guardrails.no_end_before(min_turns)
        if guardrails is NO_GUARDRAILS:
            return None
        known = " ".join(told.said("intent", "goal")) if told and guardrails.repeats else None
        return guardrails.fault_of(said, before, known)

    def sampling(self, given: Sampling) -> Sampling:
        """The given values, and the profile's for the rest; what is None then is the model's own and not sent."""
        if self.own_sampling:
            return given.or_else(self.sampling_defaults)
        return given.or_else({**PAPERS_SAMPLING, **self.sampling_defaults})

    @property
    def _view(self) -> View:
        return View(self.orientation, self.opener)
