"""How a simulator's turns become ids, where its tokenizer is known, or messages for a chat API."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from platolm.conversation import SYSTEM, Message
from platolm.dyadic import Turn
from platolm.errors import TokenizerError
from platolm.simulators.formats import PromptTokenizer, TurnFormat
from platolm.simulators.told import Told
from platolm.simulators.view import JOINED_BY, ShownTurn, View


class GrownPrompt(Protocol):
    """A conversation's prompt, grown turn by turn; each turn's ids are made once."""

    def add(self, role: str, content: str, content_ids: Sequence[int] | None = None) -> slice:
        """Take in a finished turn; gives where its content's ids lie in `packed()`.

        `content_ids` are the ids of a generated turn, None where its text is to be encoded; the slice is then that of
        the whole text it is encoded in, which may hold more than the content.
        """

    def content_ids(self, where: slice) -> list[int]:
        """The ids of a turn's content, by what `add` gave."""

    def packed(self) -> array[int]:
        """`ids()` without a Python object for each, of C type unsigned short or int."""

    def ids(self) -> list[int]:
        """What the engine is given so that the simulator speaks next."""

    def __len__(self) -> int:
        """Length of `ids()`."""


class Prompts(Protocol):
    """A profile's prompts in the ids of one tokenizer."""

    @property
    def turn_end_ids(self) -> tuple[int, ...]:
        """Ids that end an utterance and are no part of it."""

    @property
    def goodbye_ids(self) -> tuple[int, ...]:
        """End markers that are one id, whose probability the engine can tell; none where a marker takes several."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids at which the engine is to stop: both of these."""

    def new(self, told: Told) -> GrownPrompt:
        """The prompt of a conversation in which nothing is said yet."""

    def ids(self, turns: Iterable[Message | Turn], told: Told) -> list[int]:
        """The same after these turns, composed at once."""


def without_turn_end(ids: Sequence[int], prompts: Prompts) -> list[int]:
    """Generated ids without the last, where that only ends the utterance."""
    ends = bool(ids) and ids[-1] in prompts.turn_end_ids
    return list(ids[:-1] if ends else ids)


@dataclass(frozen=True)
class Control:
    """A control token, by its spelling."""

    spelling: str


Piece = Control | str | Sequence[int]
"""A piece of a prompt: a control token, the whole text between two of them, or ids as they were generated."""


def turn_pieces(turn: ShownTurn, form: TurnFormat) -> list[Piece]:
    """A finished turn; the text around and between its parts is joined, so that each piece of text is one encode."""
    pieces: list[Piece] = [Control(form.begin), turn.role]
    if form.after_role is not None:
        pieces.append(Control(form.after_role))
    parts = [part.strip() if isinstance(part, str) and form.trims else part for part in turn.parts]
    parts = [part for part in parts if not isinstance(part, str) or part]
    if not parts or isinstance(parts[0], str) or form.open_gap:
        pieces.append(form.gap)
    for position, part in enumerate(parts):
        if position:
            pieces.append(JOINED_BY)
        pieces.append(part)
    return merged([*pieces, Control(form.end), form.after_end])


def open_pieces(role: str, form: TurnFormat) -> list[Piece]:
    """The begin of the turn that is to be generated."""
    after = [Control(form.after_role)] if form.after_role is not None else []
    return merged([Control(form.begin), role, *after, form.gap if form.open_gap else ""])


def head_pieces(system_text: str | None, form: TurnFormat) -> list[Piece]:
    """What stands before all turns."""
    opens: list[Piece] = [Control(form.opens)] if form.opens is not None else []
    return opens + (turn_pieces(ShownTurn(SYSTEM, (system_text,)), form) if system_text else [])


def prompt_pieces(
    turns: Iterable[Message | Turn], view: View, system_text: str | None, form: TurnFormat
) -> list[Piece]:
    """A whole prompt, composed at once."""
    pieces = head_pieces(system_text, form)
    for turn in view.shown(turns):
        pieces += turn_pieces(turn, form)
    return pieces + open_pieces(view.own_role, form)


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces with adjacent texts as one, and without empty ones."""
    result: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and result and isinstance(result[-1], str):
            result[-1] += piece
        elif piece != "":
            result.append(piece)
    return result


class TemplatePrompts:
    """Prompts in a chat model's own format.

    Args:
        markers: end markers, which never stand in a prompt as the one id that some tokenizers have for them.

    Raises:
        TokenizerError: the tokenizer lacks one of the format's control tokens.
    """

    def __init__(
        self,
        form: TurnFormat,
        view: View,
        tokenizer: PromptTokenizer,
        system_text: Callable[[Told], str | None],
        markers: Sequence[str] = (),
    ) -> None:
        self.form = form
        self.view = view
        self.tokenizer = tokenizer
        self.system_text = system_text
        self._control = {spelling: _control_id(spelling, tokenizer) for spelling in form.control_tokens}
        marker_ids = {marker: token_id for marker in markers if (token_id := tokenizer.id_of(marker)) is not None}
        self._never_text = self._control | marker_ids
        self.turn_end_ids = tuple(dict.fromkeys([self._control[form.end], tokenizer.eos_id]))
        self.goodbye_ids = tuple(marker_ids.values())
        self.stop_ids = self.turn_end_ids + self.goodbye_ids
        self.open_ids = tuple(self.ids_of(open_pieces(view.own_role, form)))

    def new(self, told: Told) -> TemplatePrompt:
        return TemplatePrompt(self, told)

    def ids(self, turns: Iterable[Message | Turn], told: Told) -> list[int]:
        return self.ids_of(prompt_pieces(turns, self.view, self.system_text(told), self.form))

    def ids_of(self, pieces: Iterable[Piece]) -> list[int]:
        """Control tokens by id, each text by one encode, generated ids as they are."""
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, Control):
                ids.append(self._control[piece.spelling])
            else:
                ids.extend(self._text_ids(piece) if isinstance(piece, str) else piece)
        return ids

    def _text_ids(self, text: str) -> list[int]:
        """Ids of a text, none of them a control token or an end marker.

        A tokenizer reads the spelling of an added token as that token, unless it is marked as special; such a spelling
        is encoded in two parts, which are text.
        """
        ids = self.tokenizer.encode(text)
        if not set(self._never_text.values()).isdisjoint(ids):
            parts = split_spellings(text, self._never_text)
            ids = [token_id for part in parts for token_id in self.tokenizer.encode(part)]
        return ids


class TemplatePrompt:
    """One conversation's prompt in a chat model's format: `ids()` equals `TemplatePrompts.ids` of all turns so far.

    Only a turn that is joined to the one before has that one's ids made again.
    """

    __slots__ = ("_ids", "_last", "_prompts", "_start")

    def __init__(self, prompts: TemplatePrompts, told: Told) -> None:
        self._prompts = prompts
        self._ids = array("H" if prompts.tokenizer.vocab_size <= 2**16 else "i")
        self._ids.extend(prompts.ids_of(head_pieces(prompts.system_text(told), prompts.form)))
        self._last: ShownTurn | None = None
        self._start = 0

    def add(self, role: str, content: str, content_ids: Sequence[int] | None = None) -> slice:
        """See `GrownPrompt`."""
        view = self._prompts.view
        part = view.part(Turn(role, content, content_ids))
        shown_role = view.orientation.shown(role)
        if self._last is None:
            for opening in view.opening(role):
                self._append(opening)
        if self._last is not None and self._last.role == shown_role:
            del self._ids[self._start :]
            return self._append(ShownTurn(shown_role, (*self._last.parts, part)))
        return self._append(ShownTurn(shown_role, (part,)))

    def content_ids(self, where: slice) -> list[int]:
        """See `GrownPrompt`."""
        return self._ids[where].tolist()

    def packed(self) -> array[int]:
        """See `GrownPrompt`."""
        packed = self._ids[:]
        packed.extend(self._rest())
        return packed

    def ids(self) -> list[int]:
        """See `GrownPrompt`."""
        return self.packed().tolist()

    def __len__(self) -> int:
        return len(self._ids) + len(self._rest())

    def _rest(self) -> Sequence[int]:
        """What follows the turns so far."""
        if self._last is not None:
            return self._prompts.open_ids
        opening = self._prompts.view.opening(None)
        pieces = [piece for turn in opening for piece in turn_pieces(turn, self._prompts.form)]
        return [*self._prompts.ids_of(pieces), *self._prompts.open_ids]

    def _append(self, turn: ShownTurn) -> slice:
        """Take in a whole turn; gives where its last part lies."""
        before: list[Piece] = turn_pieces(turn, self._prompts.form)
        at_end = before.index(Control(self._prompts.form.end))
        after = before[at_end:]
        content = [before[at_end - 1]]
        self._start = len(self._ids)
        self._ids.extend(self._prompts.ids_of(before[: at_end - 1]))
        start = len(self._ids)
        self._ids.extend(self._prompts.ids_of(content))
        where = slice(start, len(self._ids))
        self._ids.extend(self._prompts.ids_of(after))
        # Generated ids are kept in the prompt's own compact form.
        last = turn.parts[-1] if isinstance(turn.parts[-1], str) else self._ids[where]
        self._last = ShownTurn(turn.role, (*turn.parts[:-1], last))
        return where


def split_spellings(text: str, spellings: Iterable[str]) -> list[str]:
    """The text in parts, cut after the first character of every spelling."""
    cuts = sorted({found.start() + 1 for spelling in spellings for found in re.finditer(re.escape(spelling), text)})
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _control_id(spelling: str, tokenizer: PromptTokenizer) -> int:
    token_id = tokenizer.id_of(spelling)
    if token_id is None:
        raise TokenizerError(f"the tokenizer has no {spelling!r}, which the profile's prompt is made of")
    return token_id
