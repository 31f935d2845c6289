"""Whether a turn is a rendered page fragment, or Markdown in which HTML is talked about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from selectolax.lexbor import LexborHTMLParser

from curation.clean.furniture import without_furniture
from platolm.conversation import ASSISTANT, USER, Message

MOST_LEVELS = 500
MOST_INDENTING_LEVELS = 32
"""Elements in one another: more than any answer has, and as many as parsing and indenting take in linear time."""

_FIRST_TAG = re.compile(r"\s*<([a-zA-Z][a-zA-Z0-9]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
_BEFORE = re.compile(r"(?:\s|ChatGPT|[0-9]{1,3}+\s*+/\s*+[0-9]{1,3}+)*+(?=<)")
_ANY_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_LONG_TAG = re.compile(r"<([a-zA-Z][a-zA-Z0-9]*)[^<>]{10000,}>")
_BY_HAND = re.compile(r"^[ \t]+<(?:p|ul|ol|li|h[1-6]|table|thead|tbody|tr|th|td)\b|<!--", re.MULTILINE | re.IGNORECASE)
_RENDERED_BLOCKS = frozenset({"p", "ol", "ul", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "table", "hr"})
_PAGE_CLASS = re.compile(
    r"\bclass\s*=\s*[\"'][^\"']*\b(?:markdown|prose|whitespace-pre-wrap|flex-grow|result-streaming)\b"
)
_NEVER_CLOSED = frozenset({"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_INDENTING = frozenset({"blockquote", "ul", "ol", "dl"})
_OF_A_PAGE = frozenset({"html", "head", "body", "link", "meta", "form", "nav", "header", "footer", "section", "main"})


def rendered_answers(messages: Sequence[Message]) -> list[int]:
    """The positions of the assistant's turns that are HTML that a chat's page made from Markdown.

    A turn in the box that pages put round it is, wherever it stands. One without the box could be an answer that was
    typed as HTML; a page gives all of a dialogue as HTML, so it counts where the first answer to the user does, too.
    """
    answers = [n for n, message in enumerate(messages) if message.role == ASSISTANT and message.content.strip()]
    looks = [n for n in answers if is_rendered(_answer(messages[n]))]
    asked = next((n for n, message in enumerate(messages) if message.role == USER), -1)
    first = next((n for n in answers if n > asked), None)
    if first in looks:
        return looks
    return [n for n in looks if _has_page_box(_fragment(_answer(messages[n])))]


def is_rendered(text: str) -> bool:
    """Whether the whole text is HTML that a chat's page made from Markdown.

    It is where it begins with the box that pages put round an answer, or where each of its outermost elements is one
    that Markdown has and none is indented. An answer that *is* HTML (a document, a form, `<div class="card">`, a list
    laid out by hand) is not: it was typed.
    """
    fragment = _fragment(text)
    first = _FIRST_TAG.match(fragment)
    if first is None:
        return False
    if _has_page_box(fragment):
        return True
    if first[1].lower() not in _RENDERED_BLOCKS and not (first[1].lower() == "div" and not first[2].strip()):
        return False
    return _is_of_blocks(fragment)


def parsed(html: str) -> LexborHTMLParser:
    """The tree of a fragment. A tag as long as a text, in which parsing would get lost, is read without attributes."""
    return LexborHTMLParser(_LONG_TAG.sub(r"<\1>", html.replace("\0", "")))


def _answer(message: Message) -> str:
    """Without buttons and counters, which may stand between the elements of an answer."""
    return without_furniture(message.content) if "<" in message.content else message.content


def _fragment(text: str) -> str:
    """Without the name of the speaker and a counter, which stand outside the box."""
    before = _BEFORE.match(text)
    return text[before.end() :] if before else text


def _has_page_box(fragment: str) -> bool:
    first = _FIRST_TAG.match(fragment)
    return first is not None and first[1].lower() in ("div", "p") and _PAGE_CLASS.search(first[2]) is not None


def is_too_deep(fragment: str) -> bool:
    """Whether more elements stand in one another than is sensible; what is never closed counts as open to the end."""
    if fragment.count("<") <= MOST_INDENTING_LEVELS:
        return False
    levels = indenting_levels = 0
    for closing, name in _ANY_TAG.findall(fragment):
        step = -1 if closing else 1
        levels = max(0, levels + step * (name.lower() not in _NEVER_CLOSED))
        indenting_levels = max(0, indenting_levels + step * (name.lower() in _INDENTING))
        if levels > MOST_LEVELS or indenting_levels > MOST_INDENTING_LEVELS:
            return True
    return False


def _is_of_blocks(fragment: str) -> bool:
    """Whether nothing but elements of Markdown stands at the top, and no tag of a whole page anywhere."""
    if not fragment.rstrip().endswith(">") or any(tag.lower() in _OF_A_PAGE for _, tag in _ANY_TAG.findall(fragment)):
        return False
    if _BY_HAND.search(fragment) or is_too_deep(fragment):
        return False
    body = parsed(fragment).body
    if body is None:
        return False
    nodes = body.iter(include_text=True)
    return all(_may_stand_on_top(node.tag or "", node.text_content) for node in nodes)


def _may_stand_on_top(tag: str, text: str | None) -> bool:
    return not (text or "").strip() if tag == "-text" else tag in _RENDERED_BLOCKS or tag in ("div", "img", "br")
