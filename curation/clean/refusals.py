"""Answers that are none: refusals, a model's sentences about itself, and a website's errors stored as answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from curation.clean.settings import StageName
from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, USER, Message

_LOOKED_AT = 400  # characters; what comes later is part of an answer

_APOLOGY = (
    r"(?:(?:i(?:'m| am)(?: very| really| so)? sorry|sorry|i apologi[sz]e|my apologies|unfortunately)\b"
    r"[^.!?\n]{0,60}?)"
)
_UNABLE = (
    r"(?:i (?:can(?:no|')t|can not|won't|will not|am not able to|am unable to|must decline)|i'm (?:not able|unable) to)"
)
_DEED = (
    r"(?:(?:fulfil+|comply|assist|help|provide|generate|create|write|engage|support|do|answer|participate|continue"
    r"|discuss|promote|produce|offer|give|complete)\b)"
)
_ASKED = r"(?:fulfil+|comply with|assist(?: you)? with|help(?: you)? with|engage in) (?:this|that|your|such)\b"
_AS_AI = r"as an? (?:ai|artificial)\b[^.!?\n]{0,40}"

_ERROR_MESSAGE = (
    r"!?too many requests\b|something went wrong\b|an error occurred\b|network error\b|internal server error\b"
    r"|the server (?:had an error|is overloaded|experienced an error)|error in (?:body|message) stream"
    r"|there was an error generating a response|this content may violate our (?:content|usage) policy"
    r"|our systems have detected unusual activity"
)
_REFUSAL = (
    rf"{_APOLOGY},?(?: but)?,? ?(?:{_AS_AI},? )?{_UNABLE} {_DEED}"
    rf"|{_UNABLE} {_ASKED}"
    rf"|{_AS_AI},? {_UNABLE} {_DEED}"
)
_BOILERPLATE = r"(?:[^.!?\n]{0,60}\b)?as an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)\b"

_PATTERNS = [
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (("error message", _ERROR_MESSAGE), ("refusal", _REFUSAL), ("boilerplate", _BOILERPLATE))
]


class Refusals:
    """Cut a dialogue before the first question whose answer is none; nothing left drops it.

    Only how an answer begins is looked at: one that quotes such a sentence later stays.
    """

    name = StageName.REFUSALS.value

    def apply(self, dialogue: Dialogue) -> Outcome:
        for position, message in enumerate(dialogue.messages):
            reason = refusal_in(message.content) if message.role == ASSISTANT else None
            if reason is None:
                continue
            kept = before_question(dialogue.messages[:position])
            if not any(one.role == ASSISTANT for one in kept):
                return Dropped(reason, " ".join(message.content[:_LOOKED_AT].split())[:120])
            return dialogue.with_messages(kept)
        return dialogue


def refusal_in(answer: str) -> str | None:
    """Why this answer is none, or None where it is one."""
    begin = answer[:_LOOKED_AT].lstrip().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return next((reason for reason, pattern in _PATTERNS if pattern.match(begin)), None)


def before_question(messages: Sequence[Message]) -> Sequence[Message]:
    """Messages without the questions at their end."""
    end = len(messages)
    while end and messages[end - 1].role == USER:
        end -= 1
    return messages[:end]
