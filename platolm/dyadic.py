"""The dyadic format of Socratic and PlatoLM: prompt ids and loss labels from one function.

    text = HEADER + Σ over turns of NAME + ": " + "<s>" + value + "</s>"

Ids are composed, never re-tokenised: the text between two control tokens is one encode, and bos/eos are put in as ids.
Source: PlatoLM (Kong et al. 2024, arXiv 2308.11534) and its published training code; the mask's one deviation is that
a turn which begins at or after the length limit has no loss at all.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.text_tokenizer import CachingTokenizer, TextTokenizer

IGNORE_INDEX = -100
"""Label of a position without loss, as torch's cross entropy and Hugging Face's trainers read it."""

DEFAULT_MAX_LENGTH = 2048

_NAMES = {USER: "Human", ASSISTANT: "Assistant"}
_HEADER_END = "\n\n"


@dataclass(frozen=True)
class DyadicProfile:
    """One side of the pair: its header, and the role whose turns it learns and speaks."""

    name: str
    header: str
    target_role: str


SOCRATIC = DyadicProfile(
    name="socratic",
    header=(
        "A chat between a curious human and an artificial intelligence assistant. "
        "The human can ask further questions based on previous conversations, or he can directly ask brand new "
        "questions without any conversations as context."
    )
    + _HEADER_END,
    target_role=USER,
)
"""The user simulator."""

PLATOLM = DyadicProfile(
    name="platolm",
    header=(
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions."
    )
    + _HEADER_END,
    target_role=ASSISTANT,
)
"""The respondent."""

PROFILES = {profile.name: profile for profile in (SOCRATIC, PLATOLM)}


@dataclass(frozen=True)
class Turn:
    """A message, with the ids of its content where they are known already (what a model generated).

    `content_ids` holds neither bos nor eos; None means that the text is to be encoded. `in_loss` off: no label even
    where the role is the profile's (context that carried its loss elsewhere).
    """

    role: str
    content: str
    content_ids: Sequence[int] | None = None
    in_loss: bool = True


@dataclass(frozen=True)
class Composed:
    """`input_ids` and `labels`, two lists of one length; a position without loss carries `IGNORE_INDEX`."""

    input_ids: list[int]
    labels: list[int]

    @property
    def has_loss(self) -> bool:
        return any(label != IGNORE_INDEX for label in self.labels)


def compose(
    turns: Iterable[Message | Turn],
    profile: DyadicProfile,
    tokenizer: TextTokenizer,
    *,
    open_role: str | None = None,
    max_length: int | None = None,
    bos_in_loss: bool = True,
) -> Composed:
    """Ids and labels of a conversation; with `open_role`, of a prompt that this role is to continue.

    Args:
        turns: system turns go into the header, in order; an unknown role renders as its capitalised name, unlabelled.
        profile: its header, and whose turns carry loss.
        open_role: append `NAME: <s>`, unlabelled and without an eos: what a server is given.
        max_length: cut ids and labels here; a cut turn keeps its partial span. None: no cut.
        bos_in_loss: whether a target turn's own bos is a label (the original's choice).
    """
    turns = list(turns)
    spoken = [turn for turn in turns if turn.role != SYSTEM]
    prefix = _header(profile, (turn.content for turn in turns if turn.role == SYSTEM))
    input_ids = [tokenizer.bos_id]
    labels = [IGNORE_INDEX]

    def extend(ids: Sequence[int], *, labelled: bool) -> None:
        input_ids.extend(ids)
        labels.extend(ids if labelled else [IGNORE_INDEX] * len(ids))

    for turn in spoken:
        labelled = turn.role == profile.target_role and _may_have_loss(turn)
        extend(tokenizer.encode(prefix + _name(turn.role) + ": "), labelled=False)
        extend([tokenizer.bos_id], labelled=labelled and bos_in_loss)
        extend(_content_ids(turn, tokenizer), labelled=labelled)
        extend([tokenizer.eos_id], labelled=labelled)
        prefix = ""
    if open_role is not None:
        extend(tokenizer.encode(prefix + _name(open_role) + ": "), labelled=False)
        extend([tokenizer.bos_id], labelled=False)
    elif not spoken:
        extend(tokenizer.encode(prefix), labelled=False)
    return Composed(input_ids[:max_length], labels[:max_length])


def prompt_ids(turns: Iterable[Message | Turn], profile: DyadicProfile, tokenizer: TextTokenizer) -> list[int]:
    """What a server is given so that the profile's side speaks next."""
    return compose(turns, profile, tokenizer, open_role=profile.target_role).input_ids


class PromptIds:
    """One side's prompt, grown turn by turn: `ids()` equals `prompt_ids` of all turns so far.

    A turn's ids are made once in a conversation's life, and kept in 2 or 4 bytes each. Two steps of `compose` are
    repeated here, the begin and the end of a turn; a property test holds the two together.
    """

    __slots__ = ("_ids", "_prefix", "_profile", "_tokenizer")

    def __init__(
        self, profile: DyadicProfile, tokenizer: CachingTokenizer, *, system_prompt: str | None = None
    ) -> None:
        self._profile = profile
        self._tokenizer = tokenizer
        self._prefix = _header(profile, [system_prompt] if system_prompt else [])
        self._ids = array("H" if tokenizer.vocab_size <= 2**16 else "i", [tokenizer.bos_id])

    def add(self, role: str, content_ids: Iterable[int]) -> slice:
        """Take in a finished turn; gives where its content's ids lie in `packed()`."""
        self._ids.extend(self._begin(role))
        start = len(self._ids)
        self._ids.extend(content_ids)
        stop = len(self._ids)
        self._ids.append(self._tokenizer.eos_id)
        self._prefix = ""
        return slice(start, stop)

    def content_ids(self, where: slice) -> list[int]:
        """The ids of a turn's content, by what `add` gave."""
        return self._ids[where].tolist()

    def packed(self) -> array[int]:
        """`ids()` without a Python object for each, of C type unsigned short or int."""
        packed = self._ids[:]
        packed.extend(self._begin(self._profile.target_role))
        return packed

    def ids(self) -> list[int]:
        """What a server is given so that the profile's side speaks next."""
        return self.packed().tolist()

    def __len__(self) -> int:
        """Length of `ids()`."""
        return len(self._ids) + len(self._begin(self._profile.target_role))

    def _begin(self, role: str) -> list[int]:
        return [*self._tokenizer.encode_fixed(self._prefix + _name(role) + ": "), self._tokenizer.bos_id]


def cut_after_last_label(composed: Composed) -> Composed:
    """Drop the tokens after the last labelled one: they carry no gradient. All-masked rows become empty."""
    end = len(composed.labels)
    while end and composed.labels[end - 1] == IGNORE_INDEX:
        end -= 1
    return Composed(composed.input_ids[:end], composed.labels[:end])


def _header(profile: DyadicProfile, system_messages: Iterable[str]) -> str:
    sentence = profile.header.removesuffix(_HEADER_END)
    return " ".join([sentence, *system_messages]) + _HEADER_END


def _name(role: str) -> str:
    return _NAMES.get(role, role.capitalize())


def _may_have_loss(turn: Message | Turn) -> bool:
    return not isinstance(turn, Turn) or turn.in_loss


def _content_ids(turn: Message | Turn, tokenizer: TextTokenizer) -> Sequence[int]:
    if isinstance(turn, Turn) and turn.content_ids is not None:
        return turn.content_ids
    return tokenizer.encode(turn.content)
