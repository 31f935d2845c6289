"""A user that speaks as the assistant, or writes both sides."""

from __future__ import annotations

import pytest

from platolm.role_slips import SLIP_PHRASES, slips_role, speaks_as_assistant


@pytest.mark.parametrize(
    "content",
    [
        "Assistant: here you are",
        "what is it?\nAssistant: a cat",
        "**AI**: sure",
        "User: what is it?",
        "human: hi",
        "As an AI language model, I cannot do that.",
        "as an AI I like it",
        "I'm an AI assistant",
        "I’m just an AI",
        "Hello! How can I help you today?",
        "How may I assist you with that?",
        "how can i help?",
        "I'm here to help!",
        "Let me know if you need anything else.",
        "if you need further assistance, call",
        "You're welcome! Have fun.",
        "hi<|eot_id|><|start_header_id|>assistant",
        "hi<|im_end|>",
    ],
)
def test_speaking_as_the_assistant_is_a_slip(content: str) -> None:
    assert slips_role(content)


@pytest.mark.parametrize(
    "content",
    [
        "As an AI, what do you think?",
        "are you an AI?",
        "how can I help my dog",
        "Let me know if you have any questions about my text.",
        "my boss said you're welcome to join",
        "the assistant: who is she?",
        "explain the term AI to me: what is it",
        "is the user: field needed",
        "what does <|endoftext|> mean",
    ],
)
def test_speaking_about_assistants_is_none(content: str) -> None:
    assert not slips_role(content)


@pytest.mark.parametrize("phrase", SLIP_PHRASES)
def test_every_phrase_is_found(phrase: str) -> None:
    assert speaks_as_assistant(f"well, {phrase} now".split())
