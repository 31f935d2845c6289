"""Alignment of a table's columns, which Markdown writes as colons in the line below the head."""

from __future__ import annotations

import re
from collections.abc import Sequence

from selectolax.lexbor import LexborHTMLParser, LexborNode

_RULE_BELOW_HEAD = re.compile(r"^([ \t>]*(?:[-*+] |[0-9]{1,9}[.)] )?)\|(?: --- \|)+$", re.MULTILINE)
_IN_STYLE = re.compile(r"text-align:\s*(left|center|right)")
_RULES = {"left": ":---", "center": ":---:", "right": "---:"}


def alignments_of(tree: LexborHTMLParser) -> list[list[str]]:
    """For each table the rule below each of its columns: `---`, `:---`, `:---:` or `---:`."""
    return [[_rule(cell) for cell in _first_row(table)] for table in tree.css("table")]


def with_alignments(markdown: str, alignments: Sequence[Sequence[str]]) -> str:
    """The Markdown with these rules; as it is where it has other tables than the page, for then none can be told."""
    found = list(_RULE_BELOW_HEAD.finditer(markdown))
    if not any(rule != "---" for rules in alignments for rule in rules):
        return markdown
    if [match[0].count("---") for match in found] != [len(rules) for rules in alignments]:
        return markdown
    left = iter(alignments)
    return _RULE_BELOW_HEAD.sub(lambda match: f"{match[1]}| {' | '.join(next(left))} |", markdown)


def _first_row(table: LexborNode) -> list[LexborNode]:
    row = table.css_first("tr")
    return [] if row is None else [cell for cell in row.iter() if cell.tag in ("th", "td")]


def _rule(cell: LexborNode) -> str:
    attributes = cell.attributes
    styled = _IN_STYLE.search(attributes.get("style") or "")
    return _RULES.get(styled[1] if styled else (attributes.get("align") or "").lower(), "---")
