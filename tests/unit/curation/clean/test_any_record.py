"""No record crashes the stages that work on text, whatever it holds; what comes out of them can be written."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from curation.clean.alternation import Alternation
from curation.clean.furniture import Furniture
from curation.clean.markdown import Markdown
from curation.clean.normalise import Roles
from curation.clean.stages import Dropped, Stage
from curation.dialogue import Dialogue
from curation.reading import dialogues_of

STAGES: tuple[Stage, ...] = (Roles(), Markdown(), Furniture(), Alternation())

ELEMENTS = [
    "<p>",
    "</p>",
    "<pre><code>",
    "</code></pre>",
    "<table>",
    "<td>",
    '<div class="markdown">',
    "<!--",
    "<",
    "a",
]
SIGNS = [
    "&#0;",
    "&lt;",
    "\0",
    "\ud800",
    "\ufdd00\ufdd1",
    "```\n",
    "Copy code\n",
    "1 / 2\n",
    "\r\n",
    "\u2028",
    "\U0001f600",
]
TEXTS = st.lists(st.sampled_from([*ELEMENTS, *SIGNS]), max_size=8).map("".join) | st.text(max_size=5)
ROLES = st.sampled_from(["human", "gpt", "user", "assistant", "system", "tool", "Human ", "prompter", ""])
ANYTHING: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)
TURNS = st.lists(
    st.fixed_dictionaries({"from": ROLES, "value": TEXTS})
    | st.fixed_dictionaries({"role": ROLES, "content": TEXTS | st.lists(TEXTS, max_size=2)})
    | ANYTHING,
    max_size=6,
)
NODES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries({"role": ROLES, "text": TEXTS}, optional={"deleted": st.booleans(), "message_id": ANYTHING}),
    lambda inner: st.fixed_dictionaries({"role": ROLES, "text": TEXTS, "replies": st.lists(inner, max_size=3)}),
    max_leaves=6,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "id": ANYTHING,
        "conversations": TURNS,
        "messages": TURNS,
        "conversation": TURNS,
        "prompt": NODES | ANYTHING,
        "turns": TURNS,
        "model": ANYTHING,
    },
)


@settings(deadline=None, max_examples=300)
@given(record=RECORDS | ANYTHING)
def test_every_record_becomes_dialogues_that_are_kept_or_dropped(record: Any) -> None:
    for found in dialogues_of(record, "a.jsonl:1"):
        if isinstance(found, Dialogue):
            outcome = _through(found)
            assert isinstance(outcome, Dropped) or [message.role for message in outcome.messages]


def _through(dialogue: Dialogue) -> Dialogue | Dropped:
    for stage in STAGES:
        outcome = stage.apply(dialogue)
        if isinstance(outcome, Dropped):
            assert outcome.reason
            return outcome
        assert isinstance(outcome, Dialogue)
        assert outcome.as_record()["id"] == dialogue.id
        dialogue = outcome
    return dialogue
