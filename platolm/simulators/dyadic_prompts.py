"""Prompts in the dyadic format of Socratic and PlatoLM."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import DyadicProfile, PromptIds, Turn, prompt_ids
from platolm.simulators.cleaning import without_thoughts
from platolm.simulators.formats import PromptTokenizer
from platolm.simulators.told import Told


class DyadicPrompts:
    """See `prompts.Prompts`; the ids are `platolm.dyadic`'s, and each side's own format has its header.

    Args:
        system_text: what is appended to the header's sentence.
        markers: end markers, which some tokenizers have one id for.
    """

    def __init__(
        self,
        dyadic: DyadicProfile,
        tokenizer: PromptTokenizer,
        system_text: Callable[[Told], str | None],
        markers: Sequence[str] = (),
    ) -> None:
        self.dyadic = dyadic
        self.tokenizer = tokenizer
        self.system_text = system_text
        self.turn_end_ids = (tokenizer.eos_id,)
        marker_ids = map(tokenizer.id_of, markers)
        self.goodbye_ids = tuple(token_id for token_id in marker_ids if token_id is not None)
        self.stop_ids = self.turn_end_ids + self.goodbye_ids

    def new(self, told: Told) -> DyadicPrompt:
        return DyadicPrompt(self, told)

    def ids(self, turns: Iterable[Message | Turn], told: Told) -> list[int]:
        text = self.system_text(told)
        system: list[Message | Turn] = [Message(SYSTEM, text)] if text else []
        return prompt_ids([*system, *map(self.as_seen, turns)], self.dyadic, self.tokenizer)

    def as_seen(self, turn: Message | Turn) -> Message | Turn:
        """To the user, an answer whose ids are not given is without its thoughts; to the assistant it is its own."""
        if isinstance(turn, Turn) and turn.content_ids is not None:
            return turn
        content = self.text_as_seen(turn.role, turn.content)
        return turn if content is turn.content else replace(turn, content=content)

    def text_as_seen(self, role: str, content: str) -> str:
        """The same of a text."""
        return without_thoughts(content) if self.dyadic.target_role == USER and role == ASSISTANT else content


class DyadicPrompt:
    """See `prompts.GrownPrompt`; around `dyadic.PromptIds`, which knows ids alone."""

    __slots__ = ("_ids", "_prompts")

    def __init__(self, prompts: DyadicPrompts, told: Told) -> None:
        self._prompts = prompts
        self._ids = PromptIds(prompts.dyadic, prompts.tokenizer, system_prompt=prompts.system_text(told))

    def add(self, role: str, content: str, content_ids: Sequence[int] | None = None) -> slice:
        if content_ids is None:
            content_ids = self._prompts.tokenizer.encode(self._prompts.text_as_seen(role, content))
        return self._ids.add(role, content_ids)

    def content_ids(self, where: slice) -> list[int]:
        return self._ids.content_ids(where)

    def packed(self) -> array[int]:
        return self._ids.packed()

    def ids(self) -> list[int]:
        return self._ids.ids()

    def __len__(self) -> int:
        return len(self._ids)
