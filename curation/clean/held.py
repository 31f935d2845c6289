"""What must come through a conversion untouched: code blocks and formulas are taken out before it, put back after it.

A converter of HTML strips, wraps and escapes text as it sees fit. Code and TeX are none of its business: their place
is held by a mark, and their text is written into the Markdown by the rules of Markdown alone (a fence longer than any
run of backticks inside, each line behind the prefix of the list or quotation it stands in).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

_OPEN, _CLOSE, BREAK = "\ufdd0", "\ufdd1", "\ufdd2"
"""Marks of what is held, and of a line's end that must stay one. Unicode gives these characters no meaning."""
_NO_MARKS = dict.fromkeys(map(ord, (_OPEN, _CLOSE, BREAK)))
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")

_FURNITURE = "button, svg, script, style, template, noscript, iframe, object, textarea, select, [hidden]"
_MATH = ".katex-display, .katex, .katex-error, math, code.language-math"
_HELD = f"pre, {_MATH}, {_FURNITURE}"
_SIGNS_OF_HELD = (
    b"<pre", b"<math", b"<button", b"<svg", b"<script", b"<style", b"<template", b"<noscript", b"<iframe", b"<object",
    b"<textarea", b"<select", b"hidden", b"katex", b"language-math",
)  # fmt: skip
"""In lower case; most answers have none of them, and searching a tree takes fifty times as long."""

_TABLE_TAGS = ["table", "thead", "tbody", "tfoot", "tr", "td", "th", "colgroup", "caption"]

_LANGUAGE_CLASS = re.compile(r"(?:language|lang)-([\w+#.\-]{1,32})")
_LABEL = re.compile(r"[A-Za-z][\w+#.\-]{0,31}")
_BACKTICKS = re.compile(r"`+")
_CONTAINER = re.compile(r"(?:[ \t]|>|(?:[-*+]|[0-9]{1,9}[.)])(?=[ \t])|\[[ xX]\](?=[ \t]))*")
_NOT_QUOTED = re.compile(r"[^ \t>]")
_NOT_LABELS = frozenset({"copy", "edit", "run"})


@dataclass(frozen=True, slots=True)
class Code:
    """A code block: its text without the line end before the closing fence, and its language, "" where unknown."""

    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Formula:
    """TeX; `display` on lines of its own."""

    tex: str
    display: bool


Held = Code | Formula


def without_marks(html: str) -> str:
    """The text without the characters that marks are made of."""
    return html.translate(_NO_MARKS) if any(mark in html for mark in (_OPEN, _CLOSE, BREAK)) else html


def hold(tree: LexborHTMLParser) -> list[Held]:
    """Replace code blocks and formulas by marks, and remove what is a page's and not a text's: buttons, icons, scripts.

    A table that holds a code block is taken apart, for a cell of a Markdown table is one line.
    """
    held: list[Held] = []
    html = (tree.raw_html or b"").lower()
    if not any(sign in html for sign in _SIGNS_OF_HELD):
        return held
    for node in _outermost(tree.css("table:has(pre)")):
        node.unwrap_tags(_TABLE_TAGS)
        node.unwrap()
    for node in _outermost(tree.css(_HELD)):
        found = _held(node)
        if found is None:
            node.decompose()
            continue
        mark = f"{_OPEN}{len(held)}{_CLOSE}"
        held.append(found)
        if isinstance(found, Formula) and not found.display:
            node.replace_with(mark)
        else:
            block = tree.create_node("p")
            block.insert_child(mark)
            node.replace_with(block)
    return held


def put_back(markdown: str, held: list[Held]) -> str:
    """The Markdown with what was held in its places."""
    if not held:
        return markdown
    return "\n".join(_filled(line, held) if _OPEN in line else line for line in markdown.split("\n"))


def _outermost(nodes: list[LexborNode]) -> list[LexborNode]:
    """Those that are in none of the others; nodes come in the order of the document. Each node above is met once."""
    is_inside: dict[int, bool] = {}
    matched = {node.mem_id for node in nodes}
    return [node for node in nodes if not _is_inside(node.parent, matched, is_inside)]


def _is_inside(node: LexborNode | None, matched: set[int], known: dict[int, bool]) -> bool:
    """Whether the node is one of those that matched, or in one; `known` says it of those that were asked before."""
    above: list[int] = []
    while node is not None and node.mem_id not in matched and node.mem_id not in known:
        above.append(node.mem_id)
        node = node.parent
    answer = node is not None and known.get(node.mem_id, True)
    known.update(dict.fromkeys(above, answer))
    return answer


def _held(node: LexborNode) -> Held | None:
    if node.tag == "pre":
        return _code(node)
    if node.css_matches(_MATH):
        return _formula(node)
    return None


def _code(pre: LexborNode) -> Code:
    for button in _outermost(pre.css("button, svg")):
        button.decompose()
    codes = pre.css("code")
    code = codes[0] if len(codes) == 1 else None
    text = _verbatim(code or pre.css_first(".cm-content") or pre)
    if not text and pre.css_first("table") is not None:  # cells were moved out of the code, as browsers do
        text = _verbatim(pre)
    return Code(text.removesuffix("\n"), _language(pre, code))


def _verbatim(node: LexborNode) -> str:
    """The text as it stands, line breaks included."""
    if node.css_first("br") is None:
        return node.text_lexbor()
    pieces = (part.text_content if part.tag == "-text" else "\n" * (part.tag == "br") for part in _within(node))
    return "".join(piece or "" for piece in pieces)


def _language(pre: LexborNode, code: LexborNode | None) -> str:
    """From the class of the code, or from the label that a page shows above it."""
    for node in (code, pre):
        if node is not None and (match := _LANGUAGE_CLASS.search(node.attributes.get("class") or "")):
            return match[1]
    if code is None:
        return ""
    for part in _within(pre):
        if part.mem_id == code.mem_id:
            break
        if part.tag == "-text" and (label := (part.text_content or "").strip()):
            return label if _LABEL.fullmatch(label) and label.lower() not in _NOT_LABELS else ""
    return ""


def _within(node: LexborNode) -> list[LexborNode]:
    return list(node.traverse(include_text=True))


def _formula(node: LexborNode) -> Formula | None:
    source = node.css_first('annotation[encoding="application/x-tex"]')
    tex = (source or node).text_lexbor().strip()
    display = node.css_matches(".katex-display, math[display=block], .math-display *, .math-display")
    return Formula(tex, display) if tex else None


def _filled(line: str, held: list[Held]) -> str:
    """A line with every mark replaced; blocks begin lines of their own, with the prefix of where they stand."""
    line = _MARK.sub(lambda match: _inline(held[int(match[1])], line) or match[0], line)
    first = _MARK.search(line)
    if first is None:
        return line
    prefix = _prefix(line[: first.start()])
    below = _NOT_QUOTED.sub(" ", prefix)
    pieces, end = [], len(prefix)
    for match in _MARK.finditer(line):
        pieces += [line[end : match.start()].strip(), _block(held[int(match[1])])]
        end = match.end()
    pieces.append(line[end:].strip())
    body = "\n\n".join(piece for piece in pieces if piece)
    return prefix + body.replace("\n", "\n" + below).replace(f"\n{below}\n", f"\n{below.rstrip()}\n")


def _prefix(before: str) -> str:
    match = _CONTAINER.match(before)
    return match[0] if match else ""


def _inline(found: Held, line: str) -> str | None:
    if isinstance(found, Code) or found.display:
        return None
    tex = " ".join(found.tex.split())
    return f"${tex.replace('|', chr(92) + '|') if line.startswith('|') else tex}$"


def _block(found: Held) -> str:
    if isinstance(found, Formula):
        return f"$$\n{found.tex}\n$$"
    fence = fence_for(found.text)
    return "\n".join([f"{fence}{found.language}", *([found.text] if found.text else []), fence])


def fence_for(text: str) -> str:
    """Backticks that no line of the text can be taken for: three, or one more than its longest run."""
    return "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
