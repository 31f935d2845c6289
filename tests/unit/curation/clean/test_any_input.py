"""Whatever a file holds: no stage ends the work, accounts add up, and what people wrote comes out as it was."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.clean.alternation import BETWEEN_MERGED
from curation.clean.chain import counts_of, local_stages, run_stages
from curation.clean.pipeline import clean
from curation.clean.settings import CleanSettings, StageName
from curation.dialogue import Dialogue
from curation.reading import Form
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from tests.unit.curation.clean.records import read_lines

WITHOUT_SPLITTING = frozenset(StageName) - {StageName.SPLIT}
STAGES = local_stages(CleanSettings(stages=WITHOUT_SPLITTING, languages=("en",)))
WITHOUT_PII = local_stages(CleanSettings(min_rounds=0))

MARKS = (
    "<p>", "</p>", "<pre>", "</pre>", "<code class='language-py'>", "</code>", "<div class='markdown prose'>", "</div>",
    "<table>", "<tr><td>", "</td>", "</table>", "<ul><li>", "</li>", "<ol start='9'>", "<br>", "<math>", "<script>",
    "<span class='katex'>", "<!--", "-->", "<![CDATA[", "&lt;", "&#0;", "&amp", "<a href='#'>", "<b", ">", "\ufdd0",
    "0", "\ufdd1", "```", "~~~\n", "Copy code", "1 / 2", "ChatGPT", "Regenerate response", "\n", "\r\n", "\t", " ",
    "\x00", "\u2028", "I'm sorry, but I can't assist with that.", "a@example.org", "+49 30 123456", "</s>",
    "\U0001f600", "e\u0301",
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(MARKS), max_size=12).map("".join),
    st.lists(st.sampled_from(MARKS) | st.text(max_size=8), max_size=8).map(lambda parts: f"<p>{''.join(parts)}</p>"),
    st.text(max_size=60),
)
ROLES = st.sampled_from(["human", "gpt", "user", "assistant", "system", "tool", "Bard", "", " user "])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
KEYS = st.sampled_from(
    ["id", "conversations", "conversation", "messages", "items", "prompt", "replies", "from", "role", "value",
     "content", "text", "type", "turns", "num_rounds", "language", "message_id", "tool_calls", "token_ids"]
) | st.text(max_size=4)  # fmt: skip
TURNS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"from": ROLES, "value": TEXTS}),
        st.fixed_dictionaries({"role": ROLES, "content": TEXTS | st.lists(SCALARS, max_size=2)}),
        SCALARS,
    ),
    max_size=6,
)
ANY_JSON = st.recursive(
    SCALARS | TURNS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
RECORDS = st.one_of(
    ANY_JSON,
    st.fixed_dictionaries({"conversations": TURNS}, optional={"id": SCALARS, "turns": ANY_JSON, "language": ANY_JSON}),
    st.fixed_dictionaries({"messages": TURNS}, optional={"id": SCALARS, "model": ANY_JSON}),
    st.fixed_dictionaries({"prompt": st.dictionaries(KEYS, ANY_JSON, max_size=4)}),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(records=st.lists(RECORDS, max_size=6), form=st.none() | st.sampled_from([one.value for one in Form]))
def test_no_json_ends_a_cleaning(records: list[Any], form: str | None, tmp_path: Path) -> None:
    source, out, report = tmp_path / "in.json", tmp_path / "out.jsonl", tmp_path / "report.json"
    source.write_text(json.dumps(records), encoding="utf-8")
    done = clean([source], out, report, CleanSettings(stages=WITHOUT_SPLITTING), form=form, num_processes=1)
    for stage in done.stages:
        assert stage.conversations_in == stage.conversations_out + stage.dropped.total()
    assert len(read_lines(out)) == done.num_written <= done.num_read
    json.loads(report.read_bytes())
    first = out.read_bytes(), report.read_bytes()
    clean([source], out, report, CleanSettings(stages=WITHOUT_SPLITTING), form=form, num_processes=1)
    assert (out.read_bytes(), report.read_bytes()) == first


MESSAGES = st.lists(st.builds(Message, st.sampled_from([USER, ASSISTANT, SYSTEM, "tool"]), TEXTS), max_size=7)


@settings(deadline=None)
@given(MESSAGES)
def test_no_text_ends_a_stage_and_turns_add_up(messages: list[Message]) -> None:
    dialogue = Dialogue("d", tuple(messages), "f:1")
    counts = counts_of(STAGES)
    left = run_stages(STAGES, dialogue, counts)
    assert counts[0].turns_in == len(messages)
    for before, after in pairwise(counts):
        assert (after.conversations_in, after.turns_in) == (before.conversations_out, before.turns_out)
    assert counts[-1].turns_out == sum(len(one.messages) for one in left)
    assert pickle.loads(pickle.dumps(left)) == left


@settings(deadline=None)
@given(MESSAGES)
def test_what_people_wrote_comes_out_as_it_was(messages: list[Message]) -> None:
    """Byte by byte; turns of people that follow one another are joined by a blank line, none is invented."""
    left = run_stages(WITHOUT_PII, Dialogue("d", tuple(messages)), counts_of(WITHOUT_PII))
    wrote = [message.content for message in messages if message.role == USER]
    for one in left:
        came_out = [message.content for message in one.messages if message.role == USER]
        assert are_joined(came_out, wrote)


@settings(deadline=None)
@given(st.lists(TEXTS.filter(lambda text: bool(text.strip())), min_size=1, max_size=4))
def test_a_question_before_each_answer_is_left_alone(questions: list[str]) -> None:
    messages = [message for text in questions for message in (Message(USER, text), Message(ASSISTANT, "Yes, indeed."))]
    (left,) = run_stages(WITHOUT_PII, Dialogue("d", tuple(messages)), counts_of(WITHOUT_PII))
    assert left.messages == tuple(messages)


def are_joined(came_out: Sequence[str], wrote: Sequence[str]) -> bool:
    """Whether each text is some of those that were written, in order, joined; none is used twice."""
    at = {0}
    for text in came_out:
        at = {end for begin in at for end in _ends(text, wrote, begin)}
    return bool(at)


def _ends(text: str, wrote: Sequence[str], begin: int) -> set[int]:
    ends = set()
    for position in range(begin, len(wrote)):
        if text == wrote[position]:
            ends.add(position + 1)
        start = wrote[position] + BETWEEN_MERGED
        if text.startswith(start):
            ends |= _ends(text.removeprefix(start), wrote, position + 1)
    return ends
