"""A record of whatever dataset as a seed that is a whole conversation, or the beginning of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message, from_openai, from_sharegpt
from platolm.errors import ConversationError
from platolm.seed_modes import TOLD_BY_SEEDS, GivenTurn, Seed, SeedMode

SHAREGPT_KEYS = ("conversations", "items")
OPENAI_KEYS = ("messages", "conversation")
TURNS_KEY = "turns"
"""A seed's own: messages of role and content, or a list of texts, which are user turns."""

WHOLE_KEYS = (*SHAREGPT_KEYS, *OPENAI_KEYS, TURNS_KEY)
_ROLES = (USER, ASSISTANT)


def whole_seed(record: Mapping[str, Any], line: int, mode: SeedMode) -> Seed:
    """The seed that a record gives in continue or reanswer mode.

    System messages are not said: a run's own `system_prompt` is told. To continue, what does not alternate is cut off
    from its first such turn on, and so is a blank turn; of a conversation that was cut, its user had not left. To
    answer again, the user's turns are taken, blank ones left out.

    Raises:
        ConversationError: there is no conversation, or one of another shape.
    """
    spoken = _without_blank_end([message for message in _messages(record) if message.role != SYSTEM])
    if mode is SeedMode.REANSWER:
        asked = [message for message in spoken if message.role == USER and message.content.strip()]
        return Seed(turns=_given(asked), line=line)
    begin = alternating_begin(spoken)
    if spoken and not begin:
        raise ConversationError(f"its conversation begins with {spoken[0].role}, not with the user")
    is_whole, is_answered = len(begin) == len(spoken), len(begin) % 2 == 0
    told = {field: record[field] for field in TOLD_BY_SEEDS if isinstance(record.get(field), str)}
    return Seed(turns=_given(begin), ended=is_whole if is_answered else None, line=line, **told)


def alternating_begin(messages: Sequence[Message]) -> list[Message]:
    """The longest beginning in which user and assistant say something by turns, the user first."""
    pairs = takewhile(lambda pair: pair[1].role == _ROLES[pair[0] % 2] and pair[1].content.strip(), enumerate(messages))
    return [message for _, message in pairs]


def _messages(record: Mapping[str, Any]) -> Sequence[Message]:
    key = next((key for key in WHOLE_KEYS if isinstance(record.get(key), list)), None)
    if key is None:
        raise ConversationError(f"it has no conversation: no list under any of {', '.join(WHOLE_KEYS)}")
    listed = record[key]
    if key in SHAREGPT_KEYS:
        return from_sharegpt({"conversations": listed}).messages
    if key == TURNS_KEY:
        listed = [{"role": USER, "content": one} if isinstance(one, str) else one for one in listed]
    return from_openai({"messages": listed}).messages


def _without_blank_end(messages: Sequence[Message]) -> list[Message]:
    """Some sets end with a turn that nobody said."""
    last = next((position for position in range(len(messages), 0, -1) if messages[position - 1].content.strip()), 0)
    return list(messages[:last])


def _given(messages: Iterable[Message]) -> list[GivenTurn]:
    return [GivenTurn.model_validate({"role": message.role, "content": message.content}) for message in messages]
