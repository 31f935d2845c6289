"""UserLM-8b: real roles, its user's intent as the system text, and a goodbye of its own.

Source: Naous et al. 2025 (arXiv 2510.06552), appendix C.1 for the guardrails and their figures; the model's card and
its chat template, which is Llama 3's but for three things: one line break after a header, no begin-of-text token, and
an open `user` header at the end after which the model writes the line break itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from platolm.simulators.cleaning import Cleaning
from platolm.simulators.formats import LLAMA3, without_gap
from platolm.simulators.guardrails import Guardrails
from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.told import Told

END_OF_CONVERSATION = "<|endconversation|>"
"""Not a special token: it shows in the text, though the model's tokenizer has one id for it."""

_YOU_WANT = re.compile(r"you want\b", re.IGNORECASE)


class UserLM(SimulatorProfile):
    """Told `You are a user who wants to …`; an intent that says `You want to …` is put so."""

    name = "userlm"
    about = "UserLM-8b: a user with an intent, who leaves when it is done."
    model_ids = re.compile(r"userlm")
    turn_format = without_gap(replace(LLAMA3, name="userlm", opens=None, gap="\n", trims=False))
    needs = ("intent", "goal")
    told_order = ("intent", "goal", "persona", "profile", "system_prompt")
    cleaning = Cleaning((END_OF_CONVERSATION,), blank_ends=True)
    guardrails = Guardrails(first_words=frozenset({"I", "You", "Here"}), min_turns=3, min_words=3, max_words=25)
    sampling_defaults: ClassVar[Mapping[str, float]] = {"temperature": 1.0, "top_p": 0.8}

    def system_text(self, told: Told) -> str | None:
        text = self.described(told, joined_by=" ")
        return _YOU_WANT.sub("You are a user who wants", text, count=1) if text and _YOU_WANT.match(text) else text
