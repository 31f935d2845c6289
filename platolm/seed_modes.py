"""What a conversation starts from: a seed, and what each mode takes of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from platolm.conversation import ASSISTANT, USER
from platolm.simulators.told import Told

TOLD_BY_SEEDS = ("intent", "goal", "persona", "profile")
"""Fields of a seed that are told to the simulator, in the modes of `TELLING`."""

_GIVEN = "seed"
"""`platolm.endings.FinishReason.SEED`, which imports this module."""


class SeedMode(StrEnum):
    """What a seed gives a conversation."""

    FREE = "free"
    """Nothing: the simulator opens by itself."""
    QUESTION = "question"
    """The first user turn."""
    EXCHANGE = "exchange"
    """The first user turn and its answer."""
    INTENT = "intent"
    """What the simulator is told of its user: an intent, a goal, a persona, a profile, or several.

    A question, where there is one, is the first user turn; without it the simulator opens by itself.
    """
    CONTINUE = "continue"
    """The beginning of a conversation, word for word, or all of it; both sides go on from there.

    What the seed says of its user is told as in intent mode.
    """
    REANSWER = "reanswer"
    """Every user turn of a conversation, word for word; the respondent answers each, the simulator is asked nothing."""


TELLING = frozenset({SeedMode.INTENT, SeedMode.CONTINUE})
"""Modes in which a seed tells the simulator of its user."""

WHOLE = frozenset({SeedMode.CONTINUE, SeedMode.REANSWER})
"""Modes whose seeds are conversations."""


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenTurn(_Given):
    """One utterance of a conversation that a seed holds."""

    role: Literal["user", "assistant"]
    content: str


class Seed(_Given):
    """What starts one conversation; `line` is where it stood in the user's file (from 1)."""

    question: str | None = None
    answer: str | None = None
    intent: str | None = Field(None, description="what the user wants, e.g. `You want to plan a birthday party`")
    persona: str | None = Field(None, description="who the user is")
    profile: str | None = Field(None, description="what is known of the user, at length")
    goal: str | None = Field(None, description="what the user is to reach")
    turns: list[GivenTurn] | None = Field(
        None, description="a conversation: for continue mode in turns, the user's first; reanswer takes the user's"
    )
    ended: bool | None = Field(
        None, description="whether its user left after the last of `turns`; continue mode sets the simulator beside it"
    )
    line: int | None = None


def taken(seed: Seed, mode: SeedMode, from_turn: int | None = None) -> Seed:
    """The seed with those of its turns that the mode takes, which is what a run's folder and its queue hold.

    Args:
        seed: as a user gave it.
        mode: the run's.
        from_turn: in continue mode, how many turns stand, all of them where there are fewer; negative: all but so
            many. A conversation that was cut had not ended there.
    """
    if mode not in WHOLE or seed.turns is None:
        return seed
    turns = seed.turns[:from_turn] if mode is SeedMode.CONTINUE else [turn for turn in seed.turns if turn.role == USER]
    is_cut = mode is SeedMode.CONTINUE and len(turns) < len(seed.turns)
    return seed.model_copy(update={"turns": turns, **({"ended": False} if is_cut else {})})


def lacks(seed: Seed, mode: SeedMode) -> str | None:
    """What a mode needs and a seed, as `taken`, does not give, in words; None where nothing is missing."""
    if mode is SeedMode.INTENT:
        return None if told_of_seed(seed).said(*TOLD_BY_SEEDS) else _either(TOLD_BY_SEEDS)
    if mode in WHOLE:
        return _lacking_turns(seed.turns or [], mode)
    if mode is not SeedMode.FREE and not _is_said(seed.question):
        return "question"
    if mode is SeedMode.EXCHANGE and not _is_said(seed.answer):
        return "answer"
    return None


def _lacking_turns(turns: Sequence[GivenTurn], mode: SeedMode) -> str | None:
    if not turns:
        return "turn of a user"
    if not all(map(_is_said, (turn.content for turn in turns))):
        return "text in one of its turns"
    alternates = all(turn.role == (USER, ASSISTANT)[position % 2] for position, turn in enumerate(turns))
    return None if mode is SeedMode.REANSWER or alternates else "alternation of user and assistant, the user first"


def given_utterances(seed: Seed, mode: SeedMode) -> list[tuple[str, str]]:
    """Role and text of what a seed gives in a mode: what opens the conversation, or in reanswer mode each user turn."""
    if mode in WHOLE:
        return [(turn.role, turn.content) for turn in seed.turns or []]
    if mode is SeedMode.FREE or (mode is SeedMode.INTENT and not _is_said(seed.question)):
        return []
    given = [(USER, seed.question or "")]
    if mode is SeedMode.EXCHANGE:
        given.append((ASSISTANT, seed.answer or ""))
    return given


def told_of_seed(seed: Seed) -> Told:
    """What a seed says of its user."""
    return Told(**{field: getattr(seed, field) for field in TOLD_BY_SEEDS})


def given_positions(fields: Mapping[str, Any]) -> frozenset[int]:
    """Where the turns of a record (`platolm.dataset.ConversationRecord`) lie that nobody said in its run.

    None in a run that was given openings: they are the user's first turns, as in the sets that were published.
    """
    mode, turns = fields.get("seed_mode"), fields.get("turns")
    if not isinstance(mode, str) or mode not in WHOLE or not isinstance(turns, list):
        return frozenset()
    reasons = (turn.get("finish_reason") if isinstance(turn, Mapping) else None for turn in turns)
    return frozenset(position for position, reason in enumerate(reasons) if reason == _GIVEN)


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _is_said(text: str | None) -> bool:
    return bool(text and text.strip())
