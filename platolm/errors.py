"""Every error the project raises on purpose.

PlatoLMError
├── InputError              the caller's data is wrong; saying the same again will not help
│   ├── ConversationError     a record is not a conversation
│   ├── BadLinesError         a file has lines that cannot be used; carries every one of them
│   │   ├── SeedError            a seed file
│   │   └── RecordsError         a file of conversations
│   ├── SpecError             a run's spec is wrong; carries every problem with its path
│   └── TokenizerError        a folder holds no usable tokenizer
├── SpeakerError            a model server did not make the utterance; `retryable` says whether to ask again
│   ├── EngineAwayError       nobody is there: no connection could be had
│   │   └── EngineLostError      the connection broke while the engine was to answer
│   ├── ContextFullError      a chat API finds the conversation longer than its context
│   ├── BudgetSpentError      the run may spend no more on chat APIs
│   └── MisconfiguredError    it never will as it is asked: another model, no such path, a key that is refused
├── OutputError             a dataset folder cannot be written or read
│   └── OccupiedError         it holds something else, or another process works in it
├── ApiError                the orchestrator's API refused a request; carries its status
├── TrainingError           a training run cannot go on; what it saved is intact
└── StackError              a process of the local stack did not start or died; carries its last log lines
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PlatoLMError(Exception):
    """Root of the tree; its text is one line that says what to do."""

    retryable = False


class InputError(PlatoLMError):
    """The caller's data is wrong."""


class ConversationError(InputError):
    """A record cannot be read as a conversation."""


@dataclass(frozen=True)
class BadLine:
    """One unusable line of a file; `number` counts from 1."""

    number: int
    reason: str


class BadLinesError(InputError):
    """A file has lines that cannot be used."""

    def __init__(self, message: str, bad_lines: Sequence[BadLine] = ()) -> None:
        super().__init__(message)
        self.bad_lines = tuple(bad_lines)


class SeedError(BadLinesError):
    """A seed file cannot be used as it is."""


class RecordsError(BadLinesError):
    """A file of conversations cannot be used as it is."""


@dataclass(frozen=True)
class SpecProblem:
    """What is wrong at one place of a run's spec.

    `path` is dotted, empty where the whole is meant; `line` counts from 1, None where there is no file or no telling.
    """

    path: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        parts = [f"line {self.line}" if self.line is not None else "", self.path, self.reason]
        return ": ".join(part for part in parts if part)


class SpecError(InputError):
    """A run's spec is wrong, or cannot be read; `problems` holds everything that was found."""

    def __init__(self, source: str, problems: Sequence[SpecProblem]) -> None:
        said = str(problems[0]) if len(problems) == 1 else f"{len(problems)} problems in the spec"
        super().__init__(f"{source}: {said}")
        self.source = source
        self.problems = tuple(problems)


class TokenizerError(InputError):
    """A folder or hub name gives no tokenizer that the dyadic format can use."""


class SpeakerError(PlatoLMError):
    """A model server did not make the utterance.

    `status` is the HTTP status, or None where no answer came; `retry_after_s` is what the server asked for.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class EngineAwayError(SpeakerError):
    """The connection was refused: the engine is gone, or is for a moment."""


class EngineLostError(EngineAwayError):
    """The connection broke before the answer: the engine is gone, or had just closed an idle connection."""


class ContextFullError(SpeakerError):
    """A chat API says that the conversation is longer than its context: it ends there."""


class BudgetSpentError(SpeakerError):
    """The run may spend no more on chat APIs: it has to wait for a person."""


class MisconfiguredError(SpeakerError):
    """What is asked for is not there: another model is served, the path is unknown, the key is refused.

    Every conversation of the run would fail alike, so that the run has to wait for a person.
    """


class OutputError(PlatoLMError):
    """A dataset folder cannot be written or read."""


class OccupiedError(OutputError):
    """A folder holds something else, or another process works in it; nothing in it was touched."""


class ApiError(PlatoLMError):
    """The orchestrator's API refused a request, or could not be reached (`status` None)."""

    def __init__(self, message: str, *, status: int | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable


class TrainingError(PlatoLMError):
    """A training run cannot go on; what it saved is intact."""


class StackError(PlatoLMError):
    """A process of the local stack did not start, or died; `log_tail` holds its last log lines."""

    def __init__(self, message: str, *, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log_tail = tuple(log_tail)
