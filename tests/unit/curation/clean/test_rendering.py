"""Which answers are HTML that a page made, and that the stages leave alone what only looks like it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.clean.alternation import Alternation
from curation.clean.furniture import Furniture
from curation.clean.markdown import Markdown
from curation.clean.normalise import Roles
from curation.clean.rendering import is_rendered, rendered_answers
from curation.clean.stages import Stage
from curation.dialogue import Dialogue
from platolm.conversation import Message

STAGES: tuple[Stage, ...] = (Roles(), Markdown(), Furniture(), Alternation())
PAGE, IN_BOX, TYPED_TEXT = "<p>a</p>", '<div class="markdown prose"><p>a</p></div>', "A `<p>`, a < b."


def cleaned(*contents: str) -> tuple[str, ...]:
    """What becomes of a dialogue in which user and assistant take turns."""
    found = Dialogue("d", tuple(Message(("user", "assistant")[n % 2], text) for n, text in enumerate(contents)))
    for stage in STAGES:
        outcome = stage.apply(found)
        assert isinstance(outcome, Dialogue)
        found = outcome
    return tuple(message.content for message in found.messages)


RENDERED = [
    '<div class="markdown prose w-full"><p>a</p></div>',
    '  <div class="request-1 markdown prose">a</div>',
    'ChatGPT\n1 / 2\n<div class="markdown prose">a</div>',
    '<div class="flex flex-grow flex-col gap-3"><p>a</p></div>',
    "<p>a</p>\n<ol>\n<li>b</li>\n</ol>",
    "<pre><code>a</code></pre>",
    "<h2>a</h2><hr><p>b</p>",
    "<div><p>a</p></div>",
    "<p>a</p>\n<pre><code>\n  &lt;li&gt;\n</code></pre>",
]
TYPED = [
    "",
    "a < b",
    "Use `<div>` for this.",
    "<p>a</p> is a paragraph",
    "<p>A paragraph is written so:",
    '<div class="card"><p>a</p></div>',
    "<!DOCTYPE html>\n<html><body><p>a</p></body></html>",
    "<p>a</p><form><p>b</p></form>",
    "<ul><li>a</li></ul> and text",
    "<think>a</think>",
    "```html\n<p>a</p>\n```",
    "<b>a</b>",
    "1 / 2",
    "<ul>\n  <li>a</li>\n</ul>",
    "<p>a</p><!-- b -->",
    "<blockquote>" * 100 + "a" + "</blockquote>" * 100,
]


@pytest.mark.parametrize("text", RENDERED)
def test_what_a_page_rendered_is_known(text: str) -> None:
    assert is_rendered(text)


@pytest.mark.parametrize("text", TYPED)
def test_html_that_was_typed_is_left_alone(text: str) -> None:
    assert not is_rendered(text)


def test_the_stage_converts_answers_and_nothing_that_a_person_typed() -> None:
    page = "<p>a</p>"
    dialogue = Dialogue("d", tuple(Message(role, page) for role in ("user", "assistant", "system")))
    after = Markdown().apply(dialogue)
    assert isinstance(after, Dialogue)
    assert [message.content for message in after.messages] == [page, "a", page]


def test_the_stage_leaves_a_dialogue_in_markdown_as_it_is() -> None:
    dialogue = Dialogue("d", (Message("user", "<p>"), Message("assistant", "Use `<p>`\u00a0so.\n")))
    assert Markdown().apply(dialogue) is dialogue


@pytest.mark.parametrize(
    ("answers", "rendered"),
    [
        ([PAGE], [1]),
        ([PAGE, TYPED_TEXT, PAGE], [1, 5]),
        ([TYPED_TEXT, PAGE], []),
        ([TYPED_TEXT, IN_BOX, PAGE], [3]),
        (["", PAGE], [3]),
        ([f"1 / 2\n{PAGE}\nCopy code\n{PAGE}\nRegenerate response"], [1]),
    ],
)
def test_an_answer_without_the_box_counts_where_the_first_one_does(answers: list[str], rendered: list[int]) -> None:
    messages = [message for text in answers for message in (Message("user", PAGE), Message("assistant", text))]
    assert rendered_answers(messages) == rendered


def test_what_the_assistant_said_before_the_user_is_not_the_first_answer() -> None:
    messages = [Message(role, text) for role, text in (("assistant", "Hello"), ("user", "q"), ("assistant", PAGE))]
    assert rendered_answers(messages) == [2]


def test_a_head_in_which_no_end_can_be_found_takes_no_time() -> None:
    began = time.process_time()
    assert not is_rendered("1/" + "1111/" * 50_000 + "1x")
    assert time.process_time() - began < 2


def test_html_that_a_page_shows_as_text_stays_text() -> None:
    once = cleaned("q", "<p>&lt;p&gt;b&lt;/p&gt;</p>")
    assert once == ("q", "\\<p>b</p>")
    assert cleaned(*once) == once


WORDS = st.sampled_from(
    ["a < b", "`<p>`", "<https://a.example>", "List<String>", "<p>b</p>", "</div>", "&lt;", "<br>", "#", "- x", "word"]
)
BLOCKS = st.sampled_from(
    [
        "```html\n<p>\n  <b>x</b>\n</p>\n```",
        "~~~\n<ul>\n<li>a</li>\n</ul>\n~~~",
        "    <p>a</p>",
        "> <p>a</p>",
        "| <b> |",
    ]
)


@settings(deadline=None)
@given(
    first=st.sampled_from(["Use", "`<p>`", "```html\n<p>a</p>\n```", "# <p>", "- <p>", "1 < 2", "<T>", "<https://a>"]),
    others=st.lists(WORDS | BLOCKS, max_size=6),
    between=st.sampled_from([" ", "\n", "\n\n"]),
)
def test_markdown_that_talks_of_html_is_not_touched(first: str, others: list[str], between: str) -> None:
    contents = ("<p>q</p>", between.join([first, *others]))
    assert cleaned(*contents) == contents


TAGS = ["<p>", "</p>", "<ul>", "<li>", "</li>", "</ul>", "<pre>", '<code class="language-py">', "</code>", "</pre>"]
ELEMENTS = [IN_BOX, PAGE, "</div>", "&lt;p&gt;b&lt;/p&gt;", "<br>", "<b>", "</b>", "<table><tr><td>", "<blockquote>"]
FURNITURE = ["Copy code\n", "1 / 2\n", "ChatGPT\n", "Regenerate response\n", "python\n", "pythonCopy code\n"]
SIGNS = [
    "```\n",
    "```py\n",
    "x = 1\n",
    "\n",
    "\n\n",
    "> ",
    "- ",
    "1. ",
    "    ",
    "a",
    "b c",
    "$",
    "\\",
    "*",
    "`",
    "&lt;",
]
PIECES = st.sampled_from([*TAGS, *ELEMENTS, *FURNITURE, *SIGNS])
ANSWERS = st.lists(PIECES, min_size=1, max_size=14).map("".join)


@settings(deadline=None, max_examples=300)
@given(answers=st.lists(ANSWERS | ANSWERS.map(lambda text: PAGE + text + PAGE), min_size=1, max_size=3))
def test_cleaning_twice_is_cleaning_once_and_a_person_keeps_every_byte(answers: list[str]) -> None:
    contents = [text for n, answer in enumerate(answers) for text in (f"<p>Copy code</p> {n}\n1 / 2\n{answer}", answer)]
    once = cleaned(*contents)
    assert cleaned(*once) == once
    typed = "\n\n".join(contents[::2])  # an answer that is blank joins what stands about it
    assert "\n\n".join(once[::2]) == typed
