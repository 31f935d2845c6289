"""Real chat pages beside the repository, converted: how near to their Markdown, and whether code came through.

Similarity is that of difflib's SequenceMatcher (2 × matches / length of both, autojunk off) over the words (runs of
letters, digits and underscores) and single signs of the two texts in order: white space is left out, and nothing else.
Code is compared apart from it, to the last character.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from difflib import SequenceMatcher
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from markdown_it import MarkdownIt

from curation.clean.alternation import Alternation
from curation.clean.furniture import Furniture
from curation.clean.markdown import Markdown
from curation.clean.normalise import Roles
from curation.clean.stages import Stage
from curation.dialogue import Dialogue
from curation.reading import read_dialogues
from platolm.conversation import ASSISTANT, USER, Message

DATA = Path(__file__).parents[4].parent / "shared" / "data"
EXPORT = "chatgpt_export_html.json"
RAW = "sharegpt_html_raw.json"
LEAST_SIMILARITY = 0.97
MOST_MS_A_TURN = 1.0
MOST_OTHER_PAGES = 0.02
"""Share of answers that do not render to the same page again: text that no Markdown says, such as a bare `1. ` line."""

READER = MarkdownIt("commonmark")


class CodeOfHtml(HTMLParser):
    """The text of each `code`, in a `pre` or in a line, read by another parser than the converter's."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self.inline: list[str] = []
        self._in_pre = self._in_code = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_pre |= tag == "pre"
        if tag == "code":
            self._in_code = True
            self._found().append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_pre &= tag != "pre"
        self._in_code &= tag != "code"

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self._found()[-1] += data

    def _found(self) -> list[str]:
        return self.blocks if self._in_pre else self.inline


def code_of_html(html: str) -> list[str]:
    return [block.removesuffix("\n") for block in CodeOfHtml(html).blocks]


def code_of(markdown: str) -> list[str]:
    tokens = READER.parse(markdown)
    return [token.content.removesuffix("\n") for token in tokens if token.type in ("fence", "code_block")]


def inline_code_of(markdown: str) -> list[str]:
    tokens = [child for token in READER.parse(markdown) for child in token.children or ()]
    return [token.content for token in tokens if token.type == "code_inline"]


def similarity(one: str, other: str) -> float:
    """As said above; 1 for texts that differ in white space alone."""
    first, second = (re.findall(r"\w+|[^\w\s]", text) for text in (one, other))
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def dialogues(name: str) -> list[Dialogue]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: the real pages lie beside the repository")
    return [found for found in read_dialogues([path]) if isinstance(found, Dialogue)]


def staged(dialogue: Dialogue, *stages: Stage) -> Dialogue:
    for stage in stages:
        outcome = stage.apply(dialogue)
        assert isinstance(outcome, Dialogue)
        dialogue = outcome
    return dialogue


def answers(name: str) -> Iterator[tuple[str, str, Any]]:
    """HTML, Markdown and, where the file has one, the reference of each answer."""
    for before in dialogues(name):
        after = staged(before, Roles(), Markdown(), Furniture())
        references = before.fields.get("reference", [{}] * len(before.messages))
        for page, message, reference in zip(before.messages, after.messages, references, strict=True):
            if page.role == ASSISTANT:
                yield page.content, message.content, reference.get("value")


def test_an_export_comes_back_as_the_markdown_it_was_made_from() -> None:
    found = [(similarity(markdown, reference), markdown, reference) for _, markdown, reference in answers(EXPORT)]
    assert len(found) == 167
    shares = [share for share, _, _ in found]
    blocks = [block for _, _, reference in found for block in code_of(reference)]
    print(f"similarity: mean {mean(shares):.5f}, least {min(shares):.5f}, equal {shares.count(1.0)} of {len(shares)}")
    print(f"code: {len(blocks)} blocks, {sum(map(len, blocks))} characters, all of them equal")
    assert mean(shares) >= LEAST_SIMILARITY
    assert [block for _, markdown, _ in found for block in code_of(markdown)] == blocks
    assert len(blocks) == 32


@pytest.mark.parametrize(("name", "num_blocks"), [(EXPORT, 32), (RAW, 17)])
def test_every_code_block_is_there_to_the_last_byte(name: str, num_blocks: int) -> None:
    found = list(answers(name))
    print(f"{name}: {len(found)} answers, {num_blocks} blocks of code")
    assert sum(len(code_of_html(page)) for page, _, _ in found) == num_blocks
    for page, markdown, _ in found:
        assert code_of(markdown) == code_of_html(page)


@pytest.mark.parametrize(("name", "num_pieces"), [(EXPORT, 116), (RAW, 19)])
def test_every_piece_of_code_in_a_line_is_there(name: str, num_pieces: int) -> None:
    found = [(CodeOfHtml(page).inline, inline_code_of(markdown)) for page, markdown, _ in answers(name)]
    assert [pieces for pieces, _ in found] == [pieces for _, pieces in found]
    assert sum(len(pieces) for pieces, _ in found) == num_pieces


def test_no_trace_of_a_page_is_left() -> None:
    trace = re.compile(r"</?(?:div|span|p|pre|code|li|strong)\b|class=|Copy code")
    found = [markdown for _, markdown, _ in answers(RAW)]
    assert len(found) == 28
    outside_code = [re.sub(r"```.*?```|`[^`]*`", "", markdown, flags=re.DOTALL) for markdown in found]
    assert [text for text in outside_code if trace.search(text)] == []


@pytest.mark.parametrize("name", [EXPORT, RAW])
def test_what_people_typed_keeps_every_byte(name: str) -> None:
    for before in dialogues(name):
        after = staged(before, Roles(), Markdown(), Furniture(), Alternation())
        typed = [[m.content for m in d.messages if m.role == USER] for d in (before, after)]
        assert typed[0] == typed[1]


def test_a_turn_takes_less_than_a_millisecond_on_average() -> None:
    pages = [dialogue for name in (EXPORT, RAW) for dialogue in dialogues(name)]
    num_turns = sum(message.role == ASSISTANT for dialogue in pages for message in dialogue.messages)
    stages = (Markdown(), Furniture())
    staged(pages[0], *stages)
    began = time.process_time()
    for dialogue in pages:
        staged(dialogue, *stages)
    took_ms = 1000 * (time.process_time() - began) / num_turns
    print(f"{took_ms:.3f} ms a turn over {num_turns} turns")
    assert took_ms < MOST_MS_A_TURN


@pytest.mark.parametrize("name", [EXPORT, RAW, "oasst_trees.jsonl", "sharegpt_sample.json"])
def test_a_second_cleaning_changes_nothing(name: str) -> None:
    stages = (Roles(), Markdown(), Furniture())
    once = [staged(dialogue, *stages) for dialogue in dialogues(name)]
    assert [staged(dialogue, *stages) for dialogue in once] == once


@pytest.mark.parametrize(
    ("name", "num_answers"),
    [("arena_single_round_dialogues.jsonl", 341), ("mt_bench_dialogues.jsonl", 503), ("oasst_dialogues.jsonl", 201)],
)
def test_rendered_answers_of_other_sources_come_back_as_they_were(name: str, num_answers: int) -> None:
    """Markdown → HTML → Markdown → HTML: the same page, but for white space and the looseness of lists."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    shares, num_other = [], 0
    for message in (message for dialogue in dialogues(name) for message in dialogue.messages):
        if message.role != ASSISTANT or not message.content.strip():
            continue
        page = renderer.render(message.content)
        again = staged(Dialogue("d", (Message(ASSISTANT, page),)), Markdown()).messages[0].content
        assert code_of(again) == code_of_html(page)
        shares.append(similarity(again, message.content))
        num_other += bare(renderer.render(again)) != bare(page)
    print(f"{name}: similarity of {len(shares)} answers {mean(shares):.5f}, other pages: {num_other}")
    assert len(shares) == num_answers
    assert mean(shares) >= 0.99
    assert num_other <= MOST_OTHER_PAGES * num_answers


def bare(page: str) -> str:
    return re.sub(r"\s*(<[^>]*>)\s*", r"\1", re.sub(r"</?p>", "", re.sub(r"\s+", " ", page))).strip()
