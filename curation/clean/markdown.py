"""HTML of chat pages back into the Markdown it was made from: assistant turns only."""

from __future__ import annotations

import html as html_entities
import re
from functools import cache

import html_to_markdown
from html_to_markdown import exceptions as failures
from selectolax.lexbor import LexborNode

from curation.clean.furniture import without_furniture
from curation.clean.held import BREAK, hold, put_back, without_marks
from curation.clean.rendering import is_rendered, is_too_deep, parsed, rendered_answers
from curation.clean.stages import Outcome
from curation.clean.tables import alignments_of, with_alignments
from curation.dialogue import Dialogue
from platolm.conversation import Message

_TAG = re.compile(r"<[^<>]*>")
_BLANK_LINES = re.compile(r"\n{3,}")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_NO_ASCII_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())
_INLINE = r"(?:a|b|code|del|em|i|img|kbd|mark|s|span|strong|sub|sup|u)"
_BREAK_BEFORE = re.compile(rf"(?<![>\n])\n[ \t]*(?=<{_INLINE}\b)")
_BREAK_BEHIND = re.compile(rf"(</{_INLINE}>|<img\b[^<>]*>)[ \t]*\n[ \t]*(?=[^\s<>*+=#-]|<{_INLINE}\b)")
"""A line's end beside an inline element, which the converter would make a space."""
_FAILURES = (
    failures.ConversionError,
    failures.InputTooLargeError,
    failures.InvalidInputError,
    failures.OtherError,
    failures.PanicError,
    failures.ParseError,
)


class Markdown:
    """The stage: an assistant turn that is rendered HTML becomes Markdown; all else stays as it is."""

    name = "markdown"

    def apply(self, dialogue: Dialogue) -> Outcome:
        messages = list(dialogue.messages)
        for position in rendered_answers(messages):
            message = messages[position]
            messages[position] = Message(message.role, _settled(to_markdown(message.content)))
        return dialogue.with_messages(messages)


def _settled(markdown: str) -> str:
    """The same, but for an answer whose text is HTML that the page showed as such: a second cleaning keeps it."""
    answer = without_furniture(markdown)
    return answer.replace("<", "\\<", 1) if is_rendered(answer) else markdown


def to_markdown(html: str) -> str:
    """The Markdown of an HTML fragment. Code and formulas come through to the last character.

    Text is not escaped beyond what a line's beginning needs, as people and models write it. Nothing readable is lost:
    where the conversion would lose text (elements nested a hundred deep), the text comes without its form.
    """
    if is_too_deep(html):
        return html_entities.unescape(_TAG.sub(" ", html)).strip()
    tree = parsed(without_marks(html))
    held = hold(tree)
    body = tree.body
    if body is None:
        return ""
    if "<a" in html or "<A" in html:
        _unwrap_links(body)
    text = body.text_lexbor()
    fragment = body.inner_html or ""
    markdown = _by_library(_with_breaks(fragment)).replace("\u00a0", " ").replace(BREAK, "")
    if "<table" in fragment and "align" in fragment:
        markdown = with_alignments(markdown, alignments_of(tree))
    if _has_fewer_letters(markdown, text):
        markdown = body.text(separator="\n")
    return put_back(_BLANK_LINES.sub("\n\n", markdown), held).strip("\n").rstrip()


def _unwrap_links(body: LexborNode) -> None:
    for link in body.css("a"):
        if _shows_no_target(link):
            link.unwrap()


def _shows_no_target(link: LexborNode) -> bool:
    """Whether a link leads nowhere outside its page, or was made by the page from an address that stood in the text."""
    target = (link.attributes.get("href") or "").strip()
    if target.startswith(("javascript:", "#")):
        return True
    return target.removeprefix("mailto:") == link.text_lexbor().strip()


def _with_breaks(fragment: str) -> str:
    return _BREAK_BEHIND.sub(rf"\1{BREAK}\n{BREAK}", _BREAK_BEFORE.sub(f"{BREAK}\n{BREAK}", fragment))


def _by_library(html: str) -> str:
    try:
        return html_to_markdown.convert(html, _options()).content or ""
    except _FAILURES:
        return ""


@cache
def _options() -> html_to_markdown.ConversionOptions:
    """Choices are the library's defaults, as values of its own: names are looked up anew in every call, in a third of
    its time.
    """
    return html_to_markdown.ConversionOptions(
        bullets="-",
        br_in_tables=True,
        compact_tables=True,
        extract_metadata=False,
        preserve_tags=["sup", "sub"],
        heading_style=html_to_markdown.HeadingStyle.ATX,
        list_indent_type=html_to_markdown.ListIndentType.SPACES,
        highlight_style=html_to_markdown.HighlightStyle.DOUBLE_EQUAL,
        whitespace_mode=html_to_markdown.WhitespaceMode.NORMALIZED,
        newline_style=html_to_markdown.NewlineStyle.SPACES,
        code_block_style=html_to_markdown.CodeBlockStyle.BACKTICKS,
        inline_data_media=html_to_markdown.InlineDataMedia.KEEP,
        hidden_content=html_to_markdown.HiddenContent.DROP,
        url_escape_style=html_to_markdown.UrlEscapeStyle.ANGLE,
        link_style=html_to_markdown.LinkStyle.INLINE,
        output_format=html_to_markdown.OutputFormat.MARKDOWN,
        tier_strategy=html_to_markdown.TierStrategy.AUTO,
    )


def _has_fewer_letters(markdown: str, text: str) -> bool:
    """Without digits, for those of a list's numbers are not in its text. Bytes are counted first: it is much faster."""
    if _num_ascii_letters_and_others(markdown) >= _num_ascii_letters_and_others(text):
        return False
    return len(_NO_LETTERS.sub("", markdown)) < len(_NO_LETTERS.sub("", text))


def _num_ascii_letters_and_others(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass").translate(None, _NO_ASCII_LETTERS))
