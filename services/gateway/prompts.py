"""From a request to the ids that the engine continues: whose turn it is, and how much room is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message, from_openai
from platolm.errors import ConversationError
from platolm.tokenizer import TextTokenizer
from services.gateway.errors import RequestError, context_length_exceeded

DEVELOPER = "developer"  # OpenAI's newer name for a system message
_ROLES = (SYSTEM, DEVELOPER, USER, ASSISTANT)


def read_messages(raw: Sequence[dict[str, Any]]) -> tuple[Message, ...]:
    """Messages of a chat request.

    Raises:
        RequestError: 400, a message has another shape or a role that a dialogue of two does not have.
    """
    try:
        messages = from_openai({"messages": list(raw)}).messages
    except ConversationError as error:
        raise RequestError(400, str(error), param="messages") from error
    for message in messages:
        if message.role not in _ROLES:
            raise RequestError(
                400, f"role {message.role!r} is not one of {', '.join(_ROLES)}", code="unknown_role", param="messages"
            )
    return tuple(Message(SYSTEM, m.content) if m.role == DEVELOPER else m for m in messages)


def check_next_speaker(messages: Sequence[Message], speaker: str) -> None:
    """A simulator (speaker `user`) opens or follows the assistant; a respondent follows the user.

    Raises:
        RequestError: 400, it is not this side's turn.
    """
    spoken = [message for message in messages if message.role != SYSTEM]
    last = spoken[-1].role if spoken else None
    if speaker == USER and last == USER:
        raise RequestError(
            400,
            "This is a user simulator: it writes the next user message. End the conversation with an assistant "
            "message, or send no messages so that the simulator opens.",
            code="wrong_last_role",
            param="messages",
        )
    if speaker == ASSISTANT and last != USER:
        raise RequestError(
            400,
            "This is a respondent: it answers as the assistant. End the conversation with a user message.",
            code="wrong_last_role",
            param="messages",
        )


def completion_prompts(
    prompt: str | list[int] | list[str] | list[list[int]], tokenizer: TextTokenizer
) -> list[list[int]]:
    """One list of ids for each prompt. Text gets a bos and no control tokens of its own; ids stay as they are.

    Raises:
        RequestError: 400, there is no prompt, or an empty one.
    """
    if isinstance(prompt, str):
        return [_text_ids(prompt, tokenizer)]
    prompts: list[list[int]] = []
    for part in prompt if prompt and not isinstance(prompt[0], int) else [prompt]:
        prompts.append(_text_ids(part, tokenizer) if isinstance(part, str) else list(part))  # type: ignore[arg-type]
    if not all(prompts):
        raise RequestError(400, "the prompt is empty", param="prompt")
    return prompts


def room_for(num_prompt_tokens: int, asked: int | None, default: int, limit: int) -> int:
    """New tokens that a request may have: what it asked for, cut to the room that is left.

    Raises:
        RequestError: 400 `context_length_exceeded`, there is no room. (The engine itself cuts silently and reports
            `length`, which does not tell a full context from a reached limit.)
    """
    room = limit - num_prompt_tokens
    if room <= 0:
        raise context_length_exceeded(num_prompt_tokens, limit)
    return min(asked if asked is not None else default, room)


def _text_ids(text: str, tokenizer: TextTokenizer) -> list[int]:
    return [tokenizer.bos_id, *tokenizer.encode(text)]
