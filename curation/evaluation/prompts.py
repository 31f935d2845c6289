"""What a judge is told: the suites' own prompts from the suites' own files, or ours.

FastChat's and AlpacaEval's prompts are theirs and are not in this repository. Scores by ours are not comparable with
scores by theirs, and whatever prints them says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from curation.evaluation.endpoint import Chat
from curation.evaluation.own_prompts import OWN_PAIR, OWN_SINGLE, OWN_SYSTEM
from platolm.conversation import SYSTEM, USER
from platolm.errors import InputError
from platolm.jsonlines import read_json_records

PLAIN, WITH_REFERENCE = "single-v1", "single-math-v1"
SECOND_TURN = "-multi-turn"
"""FastChat's names of its prompts for a single answer; each has a sibling for the second turn."""

_SINGLE_NAMES = tuple(name + turn for name in (PLAIN, WITH_REFERENCE) for turn in ("", SECOND_TURN))
_PAIR_PACKAGE = "alpaca_eval"
_PAIR_PROMPT_IN_PACKAGE = ("evaluators_configs", "alpaca_eval_gpt4", "alpaca_eval.txt")
_RATING_FORMAT = "[[rating]]"
_FIELD = re.compile(r"\{([a-z_0-9]+)\}")
_CHAT_PART = re.compile(r"<\|im_start\|>(\w+)[^\n]*\n(.*?)<\|im_end\|>", re.DOTALL)


@dataclass(frozen=True)
class JudgePrompt:
    """One prompt, messages with `{field}`s; `name` is written into each judgment."""

    name: str
    messages: tuple[Mapping[str, str], ...]

    def filled(self, fields: Mapping[str, str]) -> Chat:
        """The messages with the fields in their places. Braces that name no field, and those of a text, stay."""
        return [{**message, "content": _filled(message["content"], fields)} for message in self.messages]


@dataclass(frozen=True)
class JudgePrompts:
    """The prompts of one kind of judging by FastChat's names, and where they are from; `is_own`: ours."""

    source: str
    is_own: bool
    by_name: Mapping[str, JudgePrompt] = field(default_factory=dict)

    def single(self, *, with_reference: bool, turn: int) -> JudgePrompt:
        """The one for a rating of a turn, 1 or 2."""
        return self.by_name[(WITH_REFERENCE if with_reference else PLAIN) + (SECOND_TURN if turn > 1 else "")]

    @property
    def pair(self) -> JudgePrompt:
        """The one for a comparison, in a set that was read for it."""
        (prompt,) = self.by_name.values()
        return prompt


def user_text(messages: Chat) -> str:
    """What the judge is asked, its instructions aside: FastChat's `user_prompt`."""
    return "\n\n".join(message["content"] for message in messages if message["role"] == USER)


def own_single_prompts() -> JudgePrompts:
    """Ours for ratings."""
    pairs = zip(_SINGLE_NAMES, OWN_SINGLE, strict=True)
    by_name = {name: _prompt(f"platolm-{name}", OWN_SYSTEM, text) for name, text in pairs}
    return JudgePrompts("this project's own", is_own=True, by_name=by_name)


def own_pair_prompts() -> JudgePrompts:
    """Ours for comparisons."""
    prompt = _prompt("platolm-pair", OWN_SYSTEM, OWN_PAIR)
    return JudgePrompts("this project's own", is_own=True, by_name={prompt.name: prompt})


def read_single_prompts(path: Path) -> JudgePrompts:
    """FastChat's, from its `judge_prompts.jsonl`.

    Raises:
        InputError: the file lacks one of the four for single answers, or one that answers in another form.
    """
    found = {str(record.get("name")): record for _, record in read_json_records(path) if isinstance(record, Mapping)}
    by_name = {}
    for name in _SINGLE_NAMES:
        record = found.get(name, {})
        system, template = record.get("system_prompt"), record.get("prompt_template")
        if not isinstance(system, str) or not isinstance(template, str):
            raise InputError(f"{path} has no prompt {name}: give FastChat's judge_prompts.jsonl")
        if record.get("output_format", _RATING_FORMAT) != _RATING_FORMAT:
            raise InputError(f"{path}: prompt {name} asks for {record['output_format']!r}, not {_RATING_FORMAT}")
        by_name[name] = _prompt(name, system, template)
    return JudgePrompts(str(path), is_own=False, by_name=by_name)


def read_pair_prompt(path: Path) -> JudgePrompts:
    """AlpacaEval's, from a text of its evaluators_configs, in ChatML or one message.

    Raises:
        InputError: it cannot be read, or lacks a place for the instruction or an output.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    missing = {"instruction", "output_1", "output_2"} - set(_FIELD.findall(text))
    if missing:
        raise InputError(f"{path} is no prompt for two outputs: it has no {{{sorted(missing)[0]}}}")
    parts = [{"role": role, "content": content.strip()} for role, content in _CHAT_PART.findall(text)]
    messages = tuple(parts) or ({"role": USER, "content": text.strip()},)
    return JudgePrompts(str(path), is_own=False, by_name={path.stem: JudgePrompt(path.stem, messages)})


def installed_pair_prompt() -> Path | None:
    """AlpacaEval's prompt in its package, where that is installed; the package itself is not imported."""
    package = find_spec(_PAIR_PACKAGE)
    for folder in (package.submodule_search_locations or []) if package is not None else []:
        path = Path(folder, *_PAIR_PROMPT_IN_PACKAGE)
        if path.is_file():
            return path
    return None


def _prompt(name: str, system: str, template: str) -> JudgePrompt:
    return JudgePrompt(name, ({"role": SYSTEM, "content": system}, {"role": USER, "content": template}))


def _filled(template: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: fields.get(found[1], found[0]), template)
