"""The rows that are handed on: one set of columns for a form, with a value in each, so that every reader infers them.

    id                  the dialogue's
    conversations       from human|gpt, value          (sharegpt, parquet)
    messages            role user|assistant, content   (openai; a system message stands first in it)
    system              the system message, which FastChat does not take as a turn   (sharegpt, parquet)
    num_rounds          questions that were answered
    termination_reason  why the conversation ended, where a run recorded it
    run_id  simulator_model  respondent_model   the run that made it
    model  language     as the source names them
    mark                what a person thought of it: good or bad

An unknown text is empty, never null: LLaMA-Factory reads a file without its card, and a column that is null in the
first megabytes could hold no text later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message, to_openai, to_sharegpt
from platolm.runs_api import DatasetFormat

Row = dict[str, Any]

LLAMA_FACTORY_TAGS: Mapping[DatasetFormat, Mapping[str, str]] = {
    DatasetFormat.SHAREGPT: {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    DatasetFormat.OPENAI: {"role_tag": "role", "content_tag": "content", "user_tag": USER, "assistant_tag": ASSISTANT},
}
_OTHER_TAGS = {"observation_tag": "observation", "function_tag": "function_call", "system_tag": SYSTEM}


class Unfit(StrEnum):
    """Why other trainers refuse a dialogue, or pass it over."""

    NOTHING = "no question with an answer"
    OTHER_ROLES = "roles other than user, assistant and a system message in front"
    NOT_USER_FIRST = "does not begin with the user"
    NOT_ALTERNATING = "roles do not alternate"
    EMPTY = "an empty turn"


@dataclass(frozen=True)
class Fitted:
    """A dialogue as it can be handed on. `is_cut`: a last question without its answer was taken away."""

    spoken: tuple[Message, ...]
    system: str = ""
    is_cut: bool = False

    @property
    def num_rounds(self) -> int:
        return rounds_of(self.spoken)


def fitted(messages: Sequence[Message]) -> Fitted | Unfit:
    """The dialogue as FastChat and LLaMA-Factory take it: user and assistant in turn, the assistant last.

    Several system messages in front are joined by a blank line.
    """
    num_system = next((i for i, message in enumerate(messages) if message.role != SYSTEM), len(messages))
    system = "\n\n".join(message.content for message in messages[:num_system])
    spoken = tuple(messages[num_system:])
    if not {message.role for message in spoken} <= {USER, ASSISTANT}:
        return Unfit.OTHER_ROLES
    if spoken and spoken[0].role != USER:
        return Unfit.NOT_USER_FIRST
    if any(one.role == other.role for one, other in pairwise(spoken)):
        return Unfit.NOT_ALTERNATING
    whole = spoken[: len(spoken) - len(spoken) % 2]
    if not whole:
        return Unfit.NOTHING
    if not all(message.content.strip() for message in whole):
        return Unfit.EMPTY
    return Fitted(whole, system, is_cut=len(whole) < len(spoken))


def as_it_is(messages: Sequence[Message]) -> Fitted:
    """The dialogue with all its turns, whatever their roles."""
    return Fitted(tuple(messages))


def rounds_of(messages: Sequence[Message]) -> int:
    """How many of the user's turns are answered at once."""
    return sum(one.role == USER and other.role == ASSISTANT for one, other in pairwise(messages))


def row_of(dialogue: Dialogue, fit: Fitted, form: DatasetFormat, mark: str) -> Row:
    """A dialogue's row in a form."""
    fields = dialogue.fields
    spoken: Row
    if form is DatasetFormat.OPENAI:
        system = [Message(SYSTEM, fit.system)] if fit.system else []
        spoken = {"messages": to_openai([*system, *fit.spoken])}
    else:
        spoken = {"conversations": to_sharegpt(fit.spoken), "system": fit.system}
    return {
        "id": dialogue.id,
        **spoken,
        "num_rounds": fit.num_rounds,
        "termination_reason": _text(fields, "termination_reason"),
        "run_id": _text(fields, "run_id"),
        "simulator_model": _text(fields, "simulator_model") or _model(_side(fields, "simulator")),
        "respondent_model": _text(fields, "respondent_model") or _model(_side(fields, "respondent")),
        "model": _model(fields),
        "language": _text(fields, "language"),
        "mark": mark,
    }


def llama_factory_entry(form: DatasetFormat, file_name: str) -> dict[str, Any]:
    """An entry of `dataset_info.json`; every tag is named, for older versions take none for granted."""
    tags = {**LLAMA_FACTORY_TAGS.get(form, LLAMA_FACTORY_TAGS[DatasetFormat.SHAREGPT]), **_OTHER_TAGS}
    is_openai = form is DatasetFormat.OPENAI
    columns = {"messages": "messages"} if is_openai else {"messages": "conversations", "system": "system"}
    return {"file_name": file_name, "formatting": "sharegpt", "columns": columns, "tags": tags}


def public_name(model: str) -> str:
    """A model's id; of one that was served from a folder only the folder's name, for where it lay concerns nobody."""
    return model.rstrip("/").rpartition("/")[2] if model.startswith(("/", "~", ".")) else model


def _model(fields: Mapping[str, Any]) -> str:
    return public_name(_text(fields, "model"))


def _side(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    side = fields.get(name)
    return side if isinstance(side, Mapping) else {}


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
