"""One text's Markdown as safe HTML: CommonMark, tables and strikethrough; HTML in it stays text, pictures become links.

Two walls, each enough by itself: the parser writes no HTML of the text's own, and what it writes passes an allow-list.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import cache, lru_cache
from html import escape
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

MAX_HIGHLIGHTED = 20_000
"""Characters of a code block; a longer one is shown in one colour."""

MAX_NESTING = 100
"""Levels of lists and quotations; what lies deeper is left out."""

SCHEMES = frozenset({"http", "https", "mailto"})
_BLOCKS = ("blockquote", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "ul")
_TABLES = ("table", "tbody", "td", "th", "thead", "tr")
_INLINE = ("a", "br", "code", "del", "em", "s", "span", "strong")
TAGS = frozenset({*_BLOCKS, *_TABLES, *_INLINE})
ATTRIBUTES = {"a": frozenset({"href", "title"}), "ol": frozenset({"start"})}
_ALIGNMENTS = ("left", "center", "right")
CLASSES = {
    "span": frozenset(name for name in STANDARD_TYPES.values() if name),
    "th": frozenset(f"align-{side}" for side in _ALIGNMENTS),
    "td": frozenset(f"align-{side}" for side in _ALIGNMENTS),
}
REL = "noopener noreferrer nofollow"
_HEADINGS_BELOW = 2
"""A page has its own h1, and h2 for its parts."""


def to_html(text: str) -> str:
    """A text as HTML of `TAGS`, `ATTRIBUTES` and `CLASSES`, links with `REL` and one of `SCHEMES`."""
    parser = _parser()
    environment: dict[str, Any] = {}
    tokens = parser.parse(text, environment)
    for token in tokens:
        _lower_heading(token)
        _align_by_class(token)
    return _clean(parser.renderer.render(tokens, parser.options, environment))


def as_it_is(text: str) -> str:
    """A text as HTML that shows its very signs."""
    return f"<pre>{escape(text)}</pre>"


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        allowed_classes={tag: set(names) for tag, names in CLASSES.items()},
        url_schemes=set(SCHEMES),
        link_rel=REL,
    )


@cache
def _parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "highlight": _highlighted, "maxNesting": MAX_NESTING}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.validateLink = _may_be_linked  # type: ignore[method-assign]
    parser.add_render_rule("image", _picture_as_link)
    return parser


def _may_be_linked(url: str) -> bool:
    """An address of its own: a relative one would lead into the dashboard."""
    try:
        return urlsplit(url).scheme.lower() in SCHEMES
    except ValueError:
        return False


def _picture_as_link(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, environment: MutableMapping[str, Any]
) -> str:
    """To load a picture would tell its server who reads."""
    token = tokens[index]
    shown = renderer.renderInlineAsText(token.children or [], options, environment) or str(token.attrs["src"])
    return f'<a href="{escape(str(token.attrs["src"]))}">{escape(shown)}</a>'


def _highlighted(code: str, language: str, _attributes: str) -> str:
    """The code with a class on each of its tokens; "" where its language is not known: the parser escapes it then."""
    lexer = _lexer(language) if len(code) <= MAX_HIGHLIGHTED else None
    return highlight(code, lexer, _FORMATTER) if lexer is not None else ""


_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False) if language else None
    except ClassNotFound:
        return None


def _lower_heading(token: Token) -> None:
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(int(token.tag[1:]) + _HEADINGS_BELOW, 6)}"


def _align_by_class(token: Token) -> None:
    """The pages' policy takes no style of an element's own."""
    if token.type in ("th_open", "td_open") and "style" in token.attrs:
        side = str(token.attrs.pop("style")).removeprefix("text-align:")
        token.attrs["class"] = f"align-{side}"
