"""Any chat model that plays a person: inverted roles, a written instruction, an agreed goodbye."""

from __future__ import annotations

from platolm.simulators.cleaning import Cleaning
from platolm.simulators.guardrails import Guardrails
from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.told import Told
from platolm.simulators.view import Orientation

END_MARKER = "<end>"

INSTRUCTION = """\
You play a person who is talking with an AI assistant. You write this person's messages, one at a time. What you are \
sent is what the assistant says to this person.

Who you are: {persona}
More about you: {profile}
What this is about: {intent}
What you want to reach: {goal}

{system_prompt}

How to write:
- Only the person's next message: no name before it, no quotation marks, no stage directions, no thoughts.
- As people type in a chat: short, plain, in your own words, not always tidy. One thing at a time; what you know \
comes out bit by bit, when it matters or when you are asked.
- You ask, answer and object. You never help, explain or advise: that is the assistant's part.
- Do not repeat what you have said, and do not copy these lines.
- When you have what you came for, or see that you will not get it, end your last message with {end_marker}"""


class RolePlay(SimulatorProfile):
    """Args: the instruction for seeds and runs without one, the goodbye that it asks for, and the opener.

    Many chat models and APIs want a user message before they speak; the opener is one. None: they get none.
    """

    name = "roleplay"
    about = "Any chat model that plays a user by a written instruction."
    orientation = Orientation.INVERTED
    guardrails = Guardrails(min_turns=3)
    own_sampling = True

    def __init__(
        self,
        *,
        instruction: str = INSTRUCTION,
        end_marker: str = END_MARKER,
        opener: str | None = "Hello! What can I do for you?",
    ) -> None:
        self.instruction = instruction
        self.opener = opener
        self.cleaning = Cleaning((end_marker,))

    def system_text(self, told: Told) -> str | None:
        return self.rendered(told.instruction if told.instruction is not None else self.instruction, told)
