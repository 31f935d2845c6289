"""A simulated user that forgets which side it is on.

Two rules for two purposes. `slips_role` decides about one utterance, which is made again or dropped: it holds only
what a user would hardly say. `speaks_as_assistant` measures many: it also counts what users say now and then, and its
share is held against that of people's own turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LABEL = re.compile(r"^[ \t]*(?:\*\*)?(?:assistant|chatbot|ai)(?:\*\*)?[ \t]*:", re.IGNORECASE | re.MULTILINE)
_OWN_LABEL = re.compile(r"\s*(?:\*\*)?(?:user|human)(?:\*\*)?[ \t]*:", re.IGNORECASE)
_TEMPLATE_TOKEN = re.compile(r"<\|(?:start_header_id|end_header_id|eot_id|begin_of_text|im_start|im_end)\|>")
_ASSISTANTS_WORDS = re.compile(
    r"\bas an ai(?: language model| assistant| chatbot)?,? i\b"
    r"|\b(?:i'm|i’m|i am)(?: just| only| also)? an ai\b"
    r"|\bhow (?:can|may|could) i (?:help|assist)(?: you\b|(?: today)?\?)"
    r"|\b(?:i'm|i’m|i am) here to (?:help|assist)\b"
    r"|\bif you (?:have|need) (?:anything else|(?:any |more |other |further )+(?:help|assistance))\b"
    r"|\A\s*you(?:'re|’re| are) (?:very |most )?welcome\b",
    re.IGNORECASE,
)
"""Only what a user would hardly say: `As an AI, what do you think?` is a user's."""

SLIP_PHRASES = (
    "as an ai language model",
    "as an ai assistant",
    "as an ai, i",
    "i am an ai language model",
    "i'm an ai language model",
    "i am just an ai",
    "i'm just an ai",
    "how can i assist you",
    "how may i assist you",
    "how can i help you today",
    "how may i help you",
    "i'm here to help",
    "i am here to help",
    "feel free to ask",
    "let me know if you have any",
    "let me know if you need",
    "is there anything else i can help",
    "i hope this helps",
    "glad i could help",
)
"""What assistants say and people hardly ever do, as casefolded text with plain apostrophes; looked for anywhere."""

_SLIP_HINTS = (" ai", "assist", "help", "feel free to ask", "let me know if you")
"""Each of the phrases holds one of these, so that hardly any utterance is searched for all of them."""

SLIP_OPENINGS = ("certainly!", "certainly, here", "sure! here", "sure, here", "of course! here", "you're welcome")
"""The same, looked for where an utterance begins."""

SLIP_LABELS = ("assistant:", "chatgpt:", "gpt:", "ai:")
"""A user's utterance that begins with the other side's name."""


def slips_role(content: str) -> bool:
    """Whether the user speaks as the assistant, labels its lines, or writes a template's control tokens."""
    return bool(
        _LABEL.search(content)
        or _OWN_LABEL.match(content)
        or _TEMPLATE_TOKEN.search(content)
        or _ASSISTANTS_WORDS.search(content)
    )


def speaks_as_assistant(words: Sequence[str]) -> bool:
    """Whether casefolded words of a user are what an assistant says: its phrases, or its name before them."""
    text = " ".join(words).replace("’", "'")
    if text.startswith(SLIP_OPENINGS) or text.startswith(SLIP_LABELS):
        return True
    return any(hint in text for hint in _SLIP_HINTS) and any(phrase in text for phrase in SLIP_PHRASES)
