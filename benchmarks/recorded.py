"""The requests that a run made, put together again from its dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platolm.conversation import from_sharegpt
from platolm.dataset import Record
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, prompt_ids
from platolm.endings import FinishReason
from platolm.errors import InputError
from platolm.tokenizer import TextTokenizer

PROFILES = {profile.target_role: profile for profile in (SOCRATIC, PLATOLM)}


@dataclass(frozen=True)
class RecordedRequest:
    """One utterance's; `num_output_tokens` counts the eos, as engines do."""

    role: str
    prompt: Sequence[int]
    num_output_tokens: int
    sampling_seed: int


def in_order(records: Iterable[Record]) -> list[Record]:
    """As workers were given the conversations: by index."""
    return sorted(records, key=lambda record: int(record["index"]))


def requests_of(record: Record, tokenizers: Mapping[str, TextTokenizer]) -> list[RecordedRequest]:
    """A conversation's requests, in order. A speaker's own turns are the ids that it generated.

    Raises:
        InputError: a prompt is not as long as the one that was sent.
    """
    requests: list[RecordedRequest] = []
    views: dict[str, list[Turn]] = {role: [] for role in tokenizers}
    for index, (message, turn) in enumerate(zip(from_sharegpt(record).messages, record["turns"], strict=True)):
        if turn["finish_reason"] != FinishReason.SEED:
            prompt = prompt_ids(views[turn["role"]], PROFILES[turn["role"]], tokenizers[turn["role"]])
            if len(prompt) != turn["num_prompt_tokens"]:
                raise InputError(
                    f"{record['id']}, turn {index}: a prompt of {len(prompt)} tokens was composed, one of "
                    f"{turn['num_prompt_tokens']} was sent: name the models that the run had"
                )
            requests.append(RecordedRequest(turn["role"], prompt, num_output_tokens(turn), turn["sampling_seed"]))
        for role, tokenizer in tokenizers.items():
            own = turn["token_ids"] if role == turn["role"] else None
            ids = own if own is not None else tokenizer.encode(message.content)
            views[role].append(Turn(turn["role"], message.content, ids))
    return requests


def num_output_tokens(turn: Mapping[str, Any]) -> int:
    """What the engine generated for a turn; a turn that ended by itself has an eos beside its text."""
    return int(turn["num_tokens"]) + int(turn["finish_reason"] == FinishReason.STOP)


def num_prompt_tokens(records: Iterable[Record]) -> int:
    """Of all requests of a dataset."""
    return sum(int(turn["num_prompt_tokens"]) for record in records for turn in record["turns"])
