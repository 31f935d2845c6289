"""The account of a cleaning: for each stage what came in, what went out and why, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import USER, Message

MAX_EXAMPLES = 3
_CHANGED = "changed"
_SHOWN = 200  # characters of an example
_LEAD = 40  # of these before the first difference


@dataclass(frozen=True)
class Example:
    """What a stage did to one dialogue: `after` of a changed one, `reason` of one that went no further."""

    id: str
    origin: str
    before: str
    after: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass
class StageCount:
    """One stage's account. `turns` are messages of every role."""

    name: str
    conversations_in: int = 0
    conversations_out: int = 0
    turns_in: int = 0
    turns_out: int = 0
    changed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    """By what was done: the first three of each kind."""

    def pass_on(self, before: Dialogue, outcome: Outcome) -> tuple[Dialogue, ...]:
        """Count what a stage made of a dialogue, and give what goes on."""
        self.conversations_in += 1
        self.turns_in += len(before.messages)
        if isinstance(outcome, Dropped):
            self._drop(before, outcome)
            return ()
        after = outcome if isinstance(outcome, tuple) else (outcome,)
        self.conversations_out += len(after)
        self.turns_out += sum(len(one.messages) for one in after)
        if len(after) != 1 or after[0].messages != before.messages:
            self.changed += 1
            self._keep(_CHANGED, lambda: Example(before.id, before.origin, *_difference(before, after)))
        return after

    def unreadable(self, origin: str, kind: str, reason: str) -> None:
        """Count a record that holds no dialogue. `kind` is one of a few, `reason` is of this record."""
        self.conversations_in += 1
        self.dropped[kind] += 1
        self._keep(kind, lambda: Example("", origin, "", reason=reason))

    def add(self, later: StageCount) -> None:
        """Add the account of later dialogues."""
        for name in ("conversations_in", "conversations_out", "turns_in", "turns_out", "changed"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.dropped.update(later.dropped)
        for kind, examples in later.examples.items():
            self.examples[kind] = [*self.examples.get(kind, ()), *examples][:MAX_EXAMPLES]

    def as_json(self) -> dict[str, Any]:
        examples = [example.as_json() for kind in sorted(self.examples) for example in self.examples[kind]]
        return {**asdict(self), "dropped": dict(sorted(self.dropped.items())), "examples": examples}

    def _drop(self, before: Dialogue, dropped: Dropped) -> None:
        self.dropped[dropped.reason] += 1
        reason = f"{dropped.reason}: {dropped.detail}" if dropped.detail else dropped.reason
        self._keep(dropped.reason, lambda: Example(before.id, before.origin, opening(before), reason=reason))

    def _keep(self, kind: str, made: Callable[[], Example]) -> None:
        examples = self.examples.setdefault(kind, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(made())


@dataclass(frozen=True)
class InputFile:
    """A file that was read."""

    path: str
    size_bytes: int
    sha256: str


@dataclass
class CleanReport:
    """What was cleaned, how, with which versions, and what each stage did."""

    files: list[InputFile]
    settings: dict[str, Any]
    versions: dict[str, str]
    stages: list[StageCount]

    @property
    def num_read(self) -> int:
        return self.stages[0].conversations_in

    @property
    def num_written(self) -> int:
        return self.stages[-1].conversations_out

    def as_json(self) -> dict[str, Any]:
        files = [asdict(file) for file in self.files]
        stages = [stage.as_json() for stage in self.stages]
        return {"input": files, "settings": self.settings, "versions": self.versions, "stages": stages}


def add_counts(total: Sequence[StageCount], later: Sequence[StageCount]) -> None:
    """Add stage by stage; both hold the same stages."""
    for count, more in zip(total, later, strict=True):
        assert count.name == more.name
        count.add(more)


def opening(dialogue: Dialogue) -> str:
    """What a dialogue is known by: the begin of its first question, else of its first message."""
    said = [message.content for message in dialogue.messages if message.role == USER]
    said = said or [message.content for message in dialogue.messages]
    return _window(said[0], 0) if said else ""


def _difference(before: Dialogue, after: Sequence[Dialogue]) -> tuple[str, str]:
    """The first message that differs, around the first difference; or how many messages became how many."""
    if len(after) == 1:
        for old, new in zip(before.messages, after[0].messages, strict=False):
            if old != new:
                return _message_difference(old, new)
    return _sizes([before]), _sizes(after)


def _message_difference(old: Message, new: Message) -> tuple[str, str]:
    if old.content == new.content:
        return f"role {old.role}", f"role {new.role}"
    length = min(len(old.content), len(new.content))
    at = next((n for n in range(length) if old.content[n] != new.content[n]), length)
    return _window(old.content, at), _window(new.content, at)


def _sizes(dialogues: Sequence[Dialogue]) -> str:
    return " + ".join(str(len(dialogue.messages)) for dialogue in dialogues) + " turns"


def _window(text: str, at: int) -> str:
    begin = max(0, at - _LEAD)
    end = begin + _SHOWN
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"
