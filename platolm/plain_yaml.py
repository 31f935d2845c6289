"""YAML as people mean it: one value a key, `no` and `1e-3` read as the current YAML standard (1.2) reads them.

PyYAML reads YAML 1.1, where `no` is false, `010` is eight, `1:30` is ninety and `1e-3` is a text; and of a key that is
given twice it takes the last without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

Place = tuple[str, ...]
"""Keys and positions from the root to a value."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_RESOLVED = [
    ("tag:yaml.org,2002:null", re.compile(r"null|Null|NULL|~|"), ["n", "N", "~", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        list("-+.0123456789"),
    ),
]


class PlainYamlError(Exception):
    """A text that is no such YAML; `line` counts from 1, None where it is not known."""

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class _Loader(yaml.SafeLoader):
    """Values by YAML 1.2's core schema; no anchors, so that a text is never larger than it looks."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise PlainYamlError(
                "anchors and aliases (&, *) are not read: write the value out", _line(event.start_mark)
            )
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first_characters in _RESOLVED:
    _whole = re.compile(f"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_tag, _whole, _first_characters)
    _Dumper.add_implicit_resolver(_tag, _whole, _first_characters)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))
)


def read_yaml(text: str) -> tuple[Any, list[tuple[Place, int]]]:
    """The plain data of a YAML text, and for each value in it its place and line; a key given twice comes twice.

    Raises:
        PlainYamlError: it is broken, or uses anchors or types beyond plain data.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, []
        return loader.construct_document(node), list(_places(node, ()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PlainYamlError(_said(error), None if mark is None else _line(mark)) from error
    except yaml.YAMLError as error:
        raise PlainYamlError(" ".join(str(error).split()), None) from error
    except RecursionError as error:
        raise PlainYamlError("nested too deeply", None) from error
    except ValueError as error:
        raise PlainYamlError(str(error), None) from error


def dump_yaml(name: str, value: Any) -> str:
    """One field, `name: value`, with its line feed; texts of several lines as a block."""
    return yaml.dump(
        {name: value}, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=10**9, sort_keys=False
    )


def _style(text: str) -> str | None:
    """A block for lines; escapes for signs that are line breaks to some (NEL, the Unicode separators)."""
    if any(sign in text for sign in "\x85\u2028\u2029"):
        return '"'
    return "|" if "\n" in text.strip() else None


def _places(node: yaml.Node, outer: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        parts = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        parts = [(str(position), value, value) for position, value in enumerate(node.value)]
    else:
        return
    for name, begin, value in parts:
        yield (*outer, name), _line(begin.start_mark)
        yield from _places(value, (*outer, name))


def _line(mark: Any) -> int:
    return int(mark.line) + 1


def _said(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "something"
    if "'\\t'" in problem:
        return "a tab where spaces indent"
    return f"{problem} ({error.context})" if error.context else problem
