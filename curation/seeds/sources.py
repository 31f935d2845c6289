"""What a record of each kind of source gives a run: an opening with its answer, or a whole dialogue.

dolly          instruction, context, response, category; the task named where there is a text to work on
wizardlm       idx with a question and its answer, or instruction and output; Alpaca-born and unanswered ones out
sharegpt       a conversation of people with a model; its first question and answer
self-instruct  instruction with instances; the first one's input and output
plain          question, instruction (and input) or prompt; answer, response or output
baize          a transcript under `input`; the whole dialogue, for a baseline
ultrachat      texts under `data`, the user's first; the whole dialogue, for a baseline
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message, from_record, to_sharegpt
from platolm.errors import BadLine, ConversationError
from platolm.seeds import ANSWER_KEYS, QUESTION_KEYS


class Kind(StrEnum):
    """Where records come from; `auto` tells by the fields of each."""

    AUTO = "auto"
    DOLLY = "dolly"
    WIZARDLM = "wizardlm"
    SHAREGPT = "sharegpt"
    SELF_INSTRUCT = "self-instruct"
    PLAIN = "plain"
    BAIZE = "baize"
    ULTRACHAT = "ultrachat"


class Reason(StrEnum):
    """Why a record gives no seed."""

    NOT_JSON = "not JSON"
    OTHER_FORM = "not of this kind"
    NO_QUESTION = "no question"
    NO_ANSWER = "no answer"
    NOT_ONE_EXCHANGE = "not one question and its answer"
    FROM_ALPACA = "taken from Alpaca"
    LATER_PART = "a later part of a conversation"
    NOT_USER_FIRST = "does not begin with the user"
    NOT_ALTERNATING = "turns do not alternate, or are empty"
    USED = "used already"
    REPEATED = "asked before"
    NOT_DRAWN = "not drawn"


class LeftOutError(ConversationError):
    """A record gives no seed; counted, never raised out of this package."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Found:
    """What a record gives. `dialogue` is all of it for a baseline, else empty; `fields` is the record itself."""

    kind: Kind
    id: str
    question: str
    answer: str | None
    fields: Mapping[str, Any]
    dialogue: tuple[Message, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """A line of the seed file, as `platolm.seeds` reads it."""
        if self.dialogue:
            return {"id": self.id, "conversations": to_sharegpt(self.dialogue), "source": self.kind.value}
        category = self.fields.get("category")
        return {
            "id": self.id,
            "question": self.question,
            **({"answer": self.answer} if self.answer is not None else {}),
            **({"category": category} if isinstance(category, str) and category else {}),
            "source": self.kind.value,
        }


DOLLY_TASKS: Mapping[str, str] = {
    "closed_qa": "This is a Closed Question-Answering task.",
    "summarization": "This is a Summarization task.",
    "information_extraction": "This is a Information Extraction task.",
}
"""How the paper names the tasks that need a text, word for word, so that its seeds can be made again."""

_NO_INPUT = "<noinput>"
_ALPACA = "alpaca"
_SHAREGPT_PART = re.compile(r"[A-Za-z0-9_-]{7}_[1-9][0-9]*")
_BAIZE_SPEAKER = re.compile(r"\[\|(Human|AI)\|\]")
_BAIZE_ROLES: Mapping[str, str] = {"Human": USER, "AI": ASSISTANT}


def find(record: Any, kind: Kind, *, default_id: str) -> Found:
    """What the record gives, texts as they are but for outer white space.

    Raises:
        LeftOutError: nothing that a run could start from.
    """
    if isinstance(record, BadLine):
        raise LeftOutError(Reason.NOT_JSON)
    if isinstance(record, str):
        record = {"question": record}
    if not isinstance(record, Mapping):
        raise LeftOutError(Reason.OTHER_FORM)
    kind = kind_of(record) if kind is Kind.AUTO else kind
    try:
        question, answer, dialogue = _READERS[kind](record)
    except LeftOutError:
        raise
    except (ConversationError, LookupError, TypeError, AttributeError) as error:
        raise LeftOutError(Reason.OTHER_FORM) from error
    if not question.strip():
        raise LeftOutError(Reason.NO_QUESTION)
    answer = answer.strip() if answer and answer.strip() else None
    return Found(kind, _id_of(record, default_id), question.strip(), answer, record, tuple(dialogue))


def kind_of(record: Mapping[str, Any]) -> Kind:
    """The kind that a record's fields tell; `plain` where none does."""
    if isinstance(record.get("data"), list):
        return Kind.ULTRACHAT
    if isinstance(record.get("instances"), list):
        return Kind.SELF_INSTRUCT
    if isinstance(record.get("input"), str) and "instruction" not in record and _BAIZE_SPEAKER.search(record["input"]):
        return Kind.BAIZE
    if {"instruction", "context", "response"} <= record.keys():
        return Kind.DOLLY
    if "conversations" in record or "messages" in record:
        return Kind.WIZARDLM if "idx" in record else Kind.SHAREGPT
    return Kind.PLAIN


_Read = tuple[str, str | None, Sequence[Message]]


def _dolly(record: Mapping[str, Any]) -> _Read:
    context = record.get("context", record.get("input")) or ""
    answer = record.get("response", record.get("output"))
    task = DOLLY_TASKS.get(record.get("category", ""), "")
    parts = [task, record["instruction"].strip(), context.strip()]
    return "\n".join(part for part in parts if part) if parts[1] else "", answer, ()


def _wizardlm(record: Mapping[str, Any]) -> _Read:
    if any(str(record.get(key, "")).lower().startswith(_ALPACA) for key in ("idx", "id", "source")):
        raise LeftOutError(Reason.FROM_ALPACA)
    if "conversations" in record or "messages" in record:
        messages = from_record(record).messages
        if [message.role for message in messages] != [USER, ASSISTANT]:
            raise LeftOutError(Reason.NOT_ONE_EXCHANGE)
        question, answer = (message.content for message in messages)
    else:
        question, found = _asked(record)
        if found is None:  # the test set has questions alone
            return question, None, ()
        answer = found
    if question.strip() and not answer.strip():
        raise LeftOutError(Reason.NO_ANSWER)
    return question, answer, ()


def _sharegpt(record: Mapping[str, Any]) -> _Read:
    if _SHAREGPT_PART.fullmatch(str(record.get("id", ""))):
        raise LeftOutError(Reason.LATER_PART)
    if "conversations" not in record and "messages" not in record:
        return (*_asked(record), ())
    spoken = [message for message in from_record(record).messages if message.role != SYSTEM]
    if not spoken:
        raise LeftOutError(Reason.NO_QUESTION)
    if spoken[0].role != USER:
        raise LeftOutError(Reason.NOT_USER_FIRST)
    answered = len(spoken) > 1 and spoken[1].role == ASSISTANT
    return spoken[0].content, spoken[1].content if answered else None, ()


def _self_instruct(record: Mapping[str, Any]) -> _Read:
    first = record["instances"][0] if "instances" in record else record
    given = str(first.get("input") or "").strip()
    parts = [record["instruction"].strip(), "" if given.lower() == _NO_INPUT else given]
    return "\n\n".join(part for part in parts if part) if parts[0] else "", first.get("output"), ()


def _plain(record: Mapping[str, Any]) -> _Read:
    if "conversations" in record or "messages" in record:
        return _sharegpt(record)
    turns = record.get("turns")
    if isinstance(turns, list) and turns:
        return _text(turns[0]), None, ()
    return (*_asked(record), ())


def _baize(record: Mapping[str, Any]) -> _Read:
    _, *pieces = _BAIZE_SPEAKER.split(record["input"])
    turns = [(_BAIZE_ROLES[name], text.strip()) for name, text in zip(pieces[::2], pieces[1::2], strict=True)]
    return _dialogue(turns)


def _ultrachat(record: Mapping[str, Any]) -> _Read:
    if "data" in record:
        return _dialogue([((USER, ASSISTANT)[i % 2], _text(text).strip()) for i, text in enumerate(record["data"])])
    spoken = [message for message in from_record(record).messages if message.role != SYSTEM]
    return _dialogue([(message.role, message.content.strip()) for message in spoken])


_READERS: Mapping[Kind, Callable[[Mapping[str, Any]], _Read]] = {
    Kind.DOLLY: _dolly,
    Kind.WIZARDLM: _wizardlm,
    Kind.SHAREGPT: _sharegpt,
    Kind.SELF_INSTRUCT: _self_instruct,
    Kind.PLAIN: _plain,
    Kind.BAIZE: _baize,
    Kind.ULTRACHAT: _ultrachat,
}


def _dialogue(turns: list[tuple[str, str]]) -> _Read:
    """A whole dialogue; a last turn that says nothing, which both sources have, is no turn."""
    if turns and not turns[-1][1]:
        turns = turns[:-1]
    if not turns:
        raise LeftOutError(Reason.NO_QUESTION)
    if turns[0][0] != USER:
        raise LeftOutError(Reason.NOT_USER_FIRST)
    if any(role != (USER, ASSISTANT)[i % 2] or not text for i, (role, text) in enumerate(turns)):
        raise LeftOutError(Reason.NOT_ALTERNATING)
    if len(turns) < 2:
        raise LeftOutError(Reason.NO_ANSWER)
    return turns[0][1], turns[1][1], [Message(role, text) for role, text in turns]


def _asked(record: Mapping[str, Any]) -> tuple[str, str | None]:
    """Question and answer by the keys that a seed file may have; an instruction's `input` is joined as there."""
    key = next((key for key in QUESTION_KEYS if key in record), None)
    if key is None:
        raise LeftOutError(Reason.NO_QUESTION)
    question = _text(record[key]).strip()
    given = record.get("input")
    if key == "instruction" and question and isinstance(given, str) and given.strip().lower() not in ("", _NO_INPUT):
        question = f"{question}\n\n{given.strip()}"
    answer_key = next((key for key in ANSWER_KEYS if record.get(key) is not None), None)
    return question, _text(record[answer_key]) if answer_key else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise LeftOutError(Reason.OTHER_FORM)
    return value


def _id_of(record: Mapping[str, Any], default_id: str) -> str:
    for key in ("id", "idx", "question_id", "prompt_id"):
        if isinstance(record.get(key), str | int) and str(record[key]):
            return str(record[key])
    return default_id
