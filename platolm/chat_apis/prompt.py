"""A conversation as one side's requests to a chat API show it, grown turn by turn."""

from __future__ import annotations

from collections.abc import Sequence

from platolm.chat_apis.answers import MESSAGE_TOKENS, estimated_prompt_tokens, estimated_tokens
from platolm.conversation import Message
from platolm.simulators.told import Told
from platolm.speaker_profile import SpeakerProfile


class ChatPrompt:
    """One side's messages, with their tokens: as the API counted them, and estimated for what came since."""

    def __init__(self, profile: SpeakerProfile, told: Told) -> None:
        self._profile = profile
        self._told = told
        self._turns: list[Message] = []
        self._num_tokens = estimated_prompt_tokens(self.messages())

    def add(self, role: str, content: str, content_ids: Sequence[int] | None = None) -> slice:
        """Take in a finished turn; of its ids nothing is known."""
        self._turns.append(Message(role, content))
        self._num_tokens += MESSAGE_TOKENS + estimated_tokens(content)
        return slice(0, 0)

    def content_ids(self, where: slice) -> list[int]:
        """None: see `add`."""
        return []

    def messages(self) -> list[dict[str, str]]:
        """What an API is given so that this side speaks next."""
        return self._profile.messages(self._turns, self._told)

    def counted(self, num_tokens: int) -> None:
        """What the API found in all messages so far."""
        self._num_tokens = num_tokens

    def __len__(self) -> int:
        """Tokens, about."""
        return self._num_tokens
