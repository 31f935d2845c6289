"""As many dialogues as one wants, made of real ones: several joined to a session of ShareGPT's size, words changed.

Answers are HTML, as the page that ShareGPT was taken from renders them. A session depends on its number and the seed
alone. Some are repeats on purpose: of an earlier session as it is, or with one word in a hundred changed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from itertools import accumulate
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from curation.clean.rendering import is_rendered
from platolm.conversation import ASSISTANT, USER, Message, to_sharegpt

MEAN_CHARACTERS = 10_000
"""Of a session: 2,424.7 tokens in the mean (Kong et al. 2024, ShareGPT unsplit), four characters each."""

_LEAST_OF_A_TURN = 400
"""Characters of a turn in the mean, of the dialogues that are used: ShareGPT's turns are 207 tokens long."""

_SPREAD = 1.0  # standard deviation of the logarithm of a session's size
_CHANGED_WORDS = 0.08
_NEARLY_CHANGED_WORDS = 0.01
_PIECE = re.compile(r"<[^<>]*>|&#?\w+;|\w+|[^\w<&]+|.", re.DOTALL)


class Kind(StrEnum):
    """What a session is."""

    NEW = "new"
    NEAR = "near duplicate"
    EXACT = "exact duplicate"


SHARES = {Kind.NEW: 0.85, Kind.NEAR: 0.1, Kind.EXACT: 0.05}


@dataclass(frozen=True)
class Source:
    """A real dialogue: each turn's role and pieces, of which the words may change; `size` is in characters."""

    roles: Sequence[str]
    pieces: Sequence[Sequence[str]]
    size: int


class Copies:
    """Sessions 0, 1, … of these sources."""

    def __init__(self, sources: Sequence[Source], seed: int = 0) -> None:
        self._sources = sources
        self._weights = list(accumulate(source.size for source in sources))
        self._mean_size = sum(source.size**2 for source in sources) / self._weights[-1]  # of one that is drawn
        self._seed = seed
        self._words = sorted({word for source in sources for turn in source.pieces for word in turn if word.isalpha()})

    def kind(self, number: int) -> Kind:
        """The first session is new; later ones are drawn."""
        return self._drawn(number)[0]

    def record(self, number: int) -> dict[str, Any]:
        """The session as ShareGPT stored it."""
        kind, of = self._drawn(number)
        session = self._session(of)
        if kind is Kind.NEAR:
            session = self._changed(session, _NEARLY_CHANGED_WORDS, random.Random(f"{self._seed} near {number}"))
        messages = [Message(role, "".join(pieces)) for role, pieces in session]
        return {"id": f"copy{number:07d}", "conversations": to_sharegpt(messages)}

    def _drawn(self, number: int) -> tuple[Kind, int]:
        """What a session is, and the number of the new one it is made of."""
        drawn = random.Random(f"{self._seed} kind {number}")
        kind = drawn.choices(list(SHARES), list(SHARES.values()))[0] if number else Kind.NEW
        return kind, number if kind is Kind.NEW else self._new_before(number, drawn)

    def _new_before(self, number: int, drawn: random.Random) -> int:
        while True:
            of = drawn.randrange(number)
            if self.kind(of) is Kind.NEW:
                return of

    def _session(self, number: int) -> list[tuple[str, list[str]]]:
        drawn = random.Random(f"{self._seed} {number}")
        wanted = MEAN_CHARACTERS * drawn.lognormvariate(-(_SPREAD**2) / 2, _SPREAD)
        turns: list[tuple[str, Sequence[str]]] = []
        size = 0
        while not turns or size <= wanted - self._mean_size / 2:
            (source,) = drawn.choices(self._sources, cum_weights=self._weights)
            turns += zip(source.roles, source.pieces, strict=True)
            size += source.size
        return self._changed(turns, _CHANGED_WORDS, drawn)

    def _changed(
        self, turns: Iterable[tuple[str, Sequence[str]]], share: float, drawn: random.Random
    ) -> list[tuple[str, list[str]]]:
        return [(role, self._changed_turn(pieces, share, drawn)) for role, pieces in turns]

    def _changed_turn(self, pieces: Sequence[str], share: float, drawn: random.Random) -> list[str]:
        changed = list(pieces)
        for _ in range(round(len(pieces) / 2 * share + drawn.random())):
            place = drawn.randrange(len(pieces))
            if changed[place].isalpha():
                changed[place] = drawn.choice(self._words)
        return changed


def sources_of(dialogues: Iterable[Sequence[Message]]) -> list[Source]:
    """Those that alternate from a question to an answer in turns as long as ShareGPT's, their answers rendered."""
    sources = [_source(messages) for messages in dialogues if _alternates(messages)]
    return [source for source in sources if source.size >= _LEAST_OF_A_TURN * len(source.roles)]


def page_of(markdown: str) -> str:
    """An answer as the page shows it."""
    return f'<div class="markdown prose w-full break-words dark:prose-invert dark">{_READER.render(markdown)}</div>'


def _source(messages: Sequence[Message]) -> Source:
    size = sum(len(message.content) for message in messages)
    return Source(
        [message.role for message in messages], [_PIECE.findall(_stored(message)) for message in messages], size
    )


def _alternates(messages: Sequence[Message]) -> bool:
    roles = [message.role for message in messages]
    return bool(roles) and roles == [USER, ASSISTANT] * (len(roles) // 2)


def _stored(message: Message) -> str:
    if message.role == USER or is_rendered(message.content):
        return message.content
    return page_of(message.content)


def _code_block(
    renderer: RendererHTML, tokens: Sequence[Token], number: int, options: OptionsDict, env: EnvType
) -> str:
    """With the bar above it: the language and a button."""
    code, language = tokens[number].content, escape(tokens[number].info.strip())
    return (
        f'<pre><div class="bg-black rounded-md mb-4"><div class="flex items-center"><span>{language}</span>'
        f'<button class="flex ml-auto gap-2">Copy code</button></div><div class="p-4 overflow-y-auto">'
        f'<code class="!whitespace-pre hljs language-{language}">{escape(code)}</code></div></div></pre>\n'
    )


_READER = MarkdownIt("commonmark").enable("table")
_READER.add_render_rule("fence", _code_block)
