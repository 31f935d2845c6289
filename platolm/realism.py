"""Does the simulated user sound like a person? Measures so cheap that they can run beside a run.

`observe` looks at one conversation; `Realism` adds conversations up, part by part: sums and counts only, so that parts
made anywhere can be merged, and JSON keeps them. No measure here needs a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from platolm.bins import Counts, upper_bound
from platolm.conversation import ASSISTANT, USER, Message
from platolm.distinct import DistinctCount
from platolm.mtld import mtld, words_of
from platolm.repetition import MIN_REPEATED_WORDS, repeatable
from platolm.role_slips import speaks_as_assistant

FIGURES = ("rounds", "user_words", "assistant_words", "mtld", "repeats", "role_slips", "distinct_openings")
"""What `Realism.figures` gives, and what a run's spec can set bounds to."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one conversation shows. Lengths are in words between white space; sequences have one entry an utterance.

    `num_rounds` counts assistant turns that answer a user turn; `mtlds` has an entry for each user turn with words.
    """

    num_rounds: int
    user_words: list[int]
    assistant_words: list[int]
    num_repeats: int
    num_role_slips: int
    mtlds: list[float]
    opening: str | None


def observe(messages: Iterable[Message], given: Collection[int] = ()) -> Observed:
    """The measures of one conversation; turns that are neither the user's nor the assistant's are passed over.

    Utterances at the positions `given` were said by nobody who is measured (`platolm.seed_modes.given_positions`): they
    have rounds and an opening, and others may repeat them, but they have no entry of their own.
    """
    said: list[list[str]] = []
    answers: list[tuple[int, str]] = []
    user_words: list[int] = []
    assistant_words: list[int] = []
    mtlds: list[float] = []
    num_rounds = num_repeats = num_slips = 0
    last_role = ""
    for position, message in enumerate(messages):
        content, is_given = message.content, position in given
        if message.role == USER:
            words = content.casefold().split()
            if not is_given:
                user_words.append(len(words))
                num_repeats += repeats(words, said)
                num_slips += speaks_as_assistant(words) or _echoes(words, answers)
                if (varied := mtld(words_of(content))) is not None:
                    mtlds.append(varied)
            said.append(words)
        elif message.role == ASSISTANT:
            num_rounds += last_role == USER
            answers.append((len(content.split()), content))
            if not is_given:
                assistant_words.append(answers[-1][0])
        last_role = message.role
    return Observed(
        num_rounds=num_rounds,
        user_words=user_words,
        assistant_words=assistant_words,
        num_repeats=num_repeats,
        num_role_slips=num_slips,
        mtlds=mtlds,
        opening=" ".join(said[0]) if said else None,
    )


def repeats(words: list[str], earlier: Sequence[list[str]]) -> bool:
    """Whether casefolded words were said before by the same speaker: the rule of `platolm.endings.repeats_itself`."""
    return words in repeatable(earlier, len(words))


def _echoes(words: list[str], answers: Sequence[tuple[int, str]]) -> bool:
    """Whether a user says word for word what the assistant said before."""
    if len(words) < MIN_REPEATED_WORDS:
        return False
    return any(num == len(words) and content.casefold().split() == words for num, content in answers)


class Realism(BaseModel):
    """The measures over conversations: sums, and lengths in bins as in `SegmentSummary`, by words instead of tokens."""

    model_config = ConfigDict(extra="ignore")

    conversations: int = 0
    rounds: int = 0
    user_turns: int = 0
    assistant_turns: int = 0
    user_words: int = 0
    assistant_words: int = 0
    repeats: int = Field(0, description="user turns that say word for word what the user said before")
    role_slips: int = Field(0, description="user turns that speak as the assistant")
    mtld_total: float = Field(0.0, description="sum over the questions that have words")
    mtld_questions: int = 0
    user_lengths: Counts = Field(default_factory=dict, description="user turns by length in words")
    assistant_lengths: Counts = Field(default_factory=dict, description="assistant turns by length in words")
    round_counts: Counts = Field(default_factory=dict, description="conversations by their number of rounds")
    openings: DistinctCount = Field(default_factory=DistinctCount, description="distinct first user turns")

    def add(self, messages: Iterable[Message], given: Collection[int] = ()) -> None:
        """Count a conversation; `given` as in `observe`."""
        self.add_observed(observe(messages, given))

    def add_observed(self, seen: Observed) -> None:
        """Count a conversation that was looked at already."""
        self.add_all((seen,))

    def add_all(self, observed: Sequence[Observed]) -> None:
        """Count conversations that were looked at already."""
        user_words = [length for seen in observed for length in seen.user_words]
        assistant_words = [length for seen in observed for length in seen.assistant_words]
        self.conversations += len(observed)
        self.rounds += sum(seen.num_rounds for seen in observed)
        self.user_turns += len(user_words)
        self.assistant_turns += len(assistant_words)
        self.user_words += sum(user_words)
        self.assistant_words += sum(assistant_words)
        self.repeats += sum(seen.num_repeats for seen in observed)
        self.role_slips += sum(seen.num_role_slips for seen in observed)
        self.mtld_total += sum(sum(seen.mtlds) for seen in observed)
        self.mtld_questions += sum(len(seen.mtlds) for seen in observed)
        _count(self.user_lengths, map(upper_bound, user_words))
        _count(self.assistant_lengths, map(upper_bound, assistant_words))
        _count(self.round_counts, (seen.num_rounds for seen in observed))
        for seen in observed:
            if seen.opening is not None:
                self.openings.add(seen.opening)

    def merge(self, other: Realism) -> None:
        """Count what another part counted too."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _BINS:
            counts = getattr(self, name)
            for key, count in getattr(other, name).items():
                counts[key] = counts.get(key, 0) + count
        self.openings.merge(other.openings)

    def figures(self) -> dict[str, float]:
        """The measures that bounds can be set to, by name; one without anything to divide by is left out.

        `rounds` a conversation, `user_words` and `assistant_words` an utterance, `mtld` a question; `repeats` and
        `role_slips` as shares of the user's turns, `distinct_openings` as a share of the conversations.
        """
        wanted = {
            "rounds": (self.rounds, self.conversations),
            "user_words": (self.user_words, self.user_turns),
            "assistant_words": (self.assistant_words, self.assistant_turns),
            "mtld": (self.mtld_total, self.mtld_questions),
            "repeats": (self.repeats, self.user_turns),
            "role_slips": (self.role_slips, self.user_turns),
            "distinct_openings": (min(self.openings.estimate, self.conversations), self.conversations),
        }
        return {name: total / count for name, (total, count) in wanted.items() if count}


_SUMS = (
    "conversations", "rounds", "user_turns", "assistant_turns", "user_words", "assistant_words", "repeats",
    "role_slips", "mtld_total", "mtld_questions",
)  # fmt: skip
_BINS = ("user_lengths", "assistant_lengths", "round_counts")


def _count(counts: Counts, keys: Iterable[int]) -> None:
    for key, number in Counter(keys).items():
        counts[key] = counts.get(key, 0) + number
