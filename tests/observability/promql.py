"""Holds a PromQL expression against the series that exist: their names, types, labels and labels' values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import promql_parser as promql

Kind = Literal["counter", "gauge"]
Labels = frozenset[str]

_OF_COUNTERS = {"rate", "increase"}
_OF_GAUGES = {"delta", "deriv", "changes", "min_over_time"}


class WrongExpressionError(ValueError):
    """The expression does not parse, or asks for what there is not."""


@dataclass(frozen=True)
class Series:
    """One name that Prometheus holds. `values` gives all values of those labels that have a fixed set of them.

    A histogram's buckets, sum and count are counters each.
    """

    kind: Kind
    labels: Labels
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)


def result_labels(text: str, series: Mapping[str, Series]) -> Labels:
    """The labels that the result can have.

    Raises:
        WrongExpressionError: says what is wrong.
    """
    try:
        parsed = promql.parse(text)
    except ValueError as error:
        raise WrongExpressionError(f"{error}: {text}") from None
    return _Reader(series).labels(parsed)


class _Reader:
    """Walks an expression; `kind` is what the selectors below must be: a counter means something as a rate only."""

    def __init__(self, series: Mapping[str, Series]) -> None:
        self._series = series

    def labels(self, node: promql.Expr, kind: Kind = "gauge") -> Labels:
        match node:
            case promql.ParenExpr():
                return self.labels(node.expr, kind)
            case promql.VectorSelector():
                return self._selected(node, kind)
            case promql.MatrixSelector():
                return self._selected(node.vector_selector, kind)
            case promql.AggregateExpr():
                return self._aggregated(node, kind)
            case promql.BinaryExpr():
                return self._combined(node, kind)
            case promql.Call():
                return self._called(node, kind)
        raise WrongExpressionError(f"not known to this check: {node}")

    def _selected(self, node: promql.VectorSelector, kind: Kind) -> Labels:
        found = self._series.get(node.name or "")
        if found is None:
            raise WrongExpressionError(f"there is no {node.name}")
        if found.kind != kind:
            raise WrongExpressionError(f"{node.name} is a {found.kind}, used as a {kind}")
        for matcher in node.matchers.matchers:
            _check_matcher(node.name or "", found, matcher)
        return found.labels

    def _aggregated(self, node: promql.AggregateExpr, kind: Kind) -> Labels:
        inner = self.labels(node.expr, kind)
        if node.modifier is None:
            return frozenset()
        if node.modifier.type == promql.AggModifierType.Without:
            raise WrongExpressionError("say `by`, not `without`: a new label would change the result")
        return _subset(node.modifier.labels, inner, f"by ({', '.join(node.modifier.labels)})")

    def _combined(self, node: promql.BinaryExpr, kind: Kind) -> Labels:
        if isinstance(node.lhs, promql.NumberLiteral):
            return self.labels(node.rhs, kind)
        left = self.labels(node.lhs, kind)
        if isinstance(node.rhs, promql.NumberLiteral):
            return left
        right, operation = self.labels(node.rhs, kind), str(node.op)
        if operation == "or":
            return left | right
        common = _matched(node.modifier, left, right, operation)
        if operation in ("and", "unless"):
            return left
        return _joined(node.modifier, left, right, common)

    def _called(self, node: promql.Call, kind: Kind) -> Labels:
        name, arguments = node.func.name, node.args
        if name in _OF_COUNTERS | _OF_GAUGES:
            return self.labels(arguments[0], "counter" if name in _OF_COUNTERS else "gauge")
        if name == "histogram_quantile":
            inner = self.labels(arguments[1], kind)
            return _subset(["le"], inner, "histogram_quantile") ^ inner
        if name == "label_replace":
            return self.labels(arguments[0], kind) | {arguments[1].val}
        if name == "absent":
            self.labels(arguments[0], kind)
            return frozenset()
        raise WrongExpressionError(f"the function {name} is not known to this check")


def _subset(wanted: list[str], there: Labels, place: str) -> Labels:
    missing = set(wanted) - there
    if missing:
        raise WrongExpressionError(f"{place}: no label {', '.join(sorted(missing))} in {sorted(there)}")
    return frozenset(wanted)


def _matched(modifier: promql.BinModifier | None, left: Labels, right: Labels, operation: str) -> Labels:
    """The labels by which both sides find each other."""
    matching = modifier.matching if modifier is not None else None
    if matching is None:
        if left != right:
            raise WrongExpressionError(f"{sorted(left)} {operation} {sorted(right)}: nothing matches")
        return left
    if matching.type != promql.LabelModifierType.Include:
        raise WrongExpressionError("say `on`, not `ignoring`: a new label would change the result")
    return _subset(matching.labels, left & right, f"{operation} on")


def _joined(modifier: promql.BinModifier | None, left: Labels, right: Labels, common: Labels) -> Labels:
    if modifier is None:
        return common
    extra = frozenset(modifier.group_labels or ())
    if modifier.card == promql.VectorMatchCardinality.ManyToOne:
        return left | extra
    if modifier.card == promql.VectorMatchCardinality.OneToMany:
        return right | extra
    return common


def _check_matcher(name: str, series: Series, matcher: promql.Matcher) -> None:
    if matcher.name not in series.labels:
        raise WrongExpressionError(f"{name} has no label {matcher.name}")
    known = series.values.get(matcher.name)
    if known is None:
        return
    is_regex = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
    for wanted in matcher.value.split("|") if is_regex else [re.escape(matcher.value)]:
        if not any(re.fullmatch(wanted, value) for value in known):
            raise WrongExpressionError(f"{name} has no {matcher.name} {wanted}, only {', '.join(sorted(known))}")
