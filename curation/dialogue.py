"""What the data tools pass from hand to hand: a dialogue, where it stood, and what else its record had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from platolm.conversation import Conversation, Message, to_sharegpt

NAMED_FIELDS = ("id", "conversations")
"""Keys of a record that have a field of their own in a dialogue; `fields` never holds them."""

TURNS_FIELD = "turns"
TOKEN_IDS = "token_ids"
NUM_ROUNDS_FIELD = "num_rounds"
"""What a run's record says of each turn (`platolm.dataset.TurnRecord`), its ids as generated, and their number."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages in order under an id; `origin` is "file:line", lines and list elements counted from 1.

    `fields` is what else the record had (model, language, turns with token ids), written back as it is.
    """

    id: str
    messages: tuple[Message, ...]
    origin: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def conversation(self) -> Conversation:
        """The same as the rest of the project knows it."""
        return Conversation(self.id, self.messages)

    def with_messages(self, messages: Sequence[Message]) -> Dialogue:
        """The same dialogue with other messages; itself where they are equal.

        What a record of a run says of each turn stays with it: a turn whose text changed loses its token ids, for they
        are another text's. A dialogue that lost its end keeps what is said of the rest; any other that has more or
        fewer turns than before loses `turns`.
        """
        messages = tuple(messages)
        if messages == self.messages:
            return self
        return replace(self, messages=messages, fields=_fitting(self.fields, self.messages, messages))

    def with_fields(self, **added: Any) -> Dialogue:
        """The same dialogue with further fields, which replace those of the same name."""
        return replace(self, fields={**self.fields, **added})

    def as_record(self) -> dict[str, Any]:
        """A ShareGPT record: `id`, `conversations`, then the other fields in their order."""
        others = {key: value for key, value in self.fields.items() if key not in NAMED_FIELDS}
        return {"id": self.id, "conversations": to_sharegpt(self.messages), **others}


def _fitting(fields: Mapping[str, Any], old: Sequence[Message], new: Sequence[Message]) -> Mapping[str, Any]:
    """The fields without what is not true of the new messages; the others in their order."""
    gone = set() if len(new) == len(old) else {NUM_ROUNDS_FIELD}
    turns = fields.get(TURNS_FIELD)
    fitting: list[Any] = []
    if isinstance(turns, list) and len(turns) == len(old) and _is_begin(new, old):
        fitting = [_fitting_turn(*each) for each in zip(turns, old, new, strict=False)]
    else:
        gone.add(TURNS_FIELD)
    return {key: fitting if key == TURNS_FIELD else value for key, value in fields.items() if key not in gone}


def _is_begin(new: Sequence[Message], old: Sequence[Message]) -> bool:
    """Whether each new turn stands where its old one stood: none was added, and only the last ones were taken away."""
    return len(new) == len(old) or tuple(new) == tuple(old[: len(new)])


def _fitting_turn(turn: Any, old: Message, new: Message) -> Any:
    if old.content == new.content or not isinstance(turn, Mapping) or turn.get(TOKEN_IDS) is None:
        return turn
    return {**turn, TOKEN_IDS: None}
