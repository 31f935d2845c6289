"""The dyadic format as a chat template, for tools that know nothing else.

Rendered text is tokenised with special tokens recognised, so a typed `</s>` becomes a control token here: serving goes
through `platolm.dyadic` instead.
"""

from __future__ import annotations

import json

from platolm.conversation import ASSISTANT, SYSTEM, USER
from platolm.dyadic import DyadicProfile

_NAMES = {USER: "Human", ASSISTANT: "Assistant"}


def chat_template(profile: DyadicProfile) -> str:
    """A Jinja template that renders `compose`'s ids as text; `add_generation_prompt` opens the profile's own turn."""
    sentence = json.dumps(profile.header.removesuffix("\n\n"))
    opening = json.dumps(_NAMES[profile.target_role] + ": ")
    return (
        "{{- bos_token + " + sentence + " }}"
        "{%- for m in messages if m['role'] == '" + SYSTEM + "' %}{{- ' ' + m['content'] }}{%- endfor %}"
        "{{- '\\n\\n' }}"
        "{%- for m in messages if m['role'] != '" + SYSTEM + "' %}"
        "{%- set name = {'" + USER + "': 'Human', '" + ASSISTANT + "': 'Assistant'} %}"
        "{{- name.get(m['role'], m['role'] | capitalize) + ': ' + bos_token + m['content'] + eos_token }}"
        "{%- endfor %}"
        "{%- if add_generation_prompt %}{{- " + opening + " + bos_token }}{%- endif %}"
    )
