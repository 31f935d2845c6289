"""The paper's way to make dialogues: one blocking request a process, Hugging Face's generate at batch 1.

Simulator and respondent alternate; each prompt is put together as text, tokenised whole and read whole. A dialogue
ends when the simulator's prompt with its question exceeds the context, the hanging question dropped, or at a number of
turns.
Source: PlatoLM (Kong et al. 2024, arXiv 2308.11534), its published inference code; written anew.

    python -m benchmarks.blocking SIMULATOR RESPONDENT [--threads 1] [--seconds 60] ...

says "warm" when it is, begins when a line comes on its input, and prints tokens and seconds as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from benchmarks.engines import Device
from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile

_NAMES = {USER: "Human", ASSISTANT: "Assistant"}
_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Said:
    """An utterance; tokens count the eos."""

    role: str
    text: str
    num_prompt_tokens: int
    num_tokens: int


class Speaker(Protocol):
    """One side of a dialogue."""

    def say(self, history: Sequence[Said], context_tokens: int) -> Said | None: ...


class BlockingSpeaker:
    """One model, asked for one utterance at a time."""

    def __init__(self, folder: str, profile: DyadicProfile, device: Device, max_tokens: int) -> None:
        dtype = "auto" if device is Device.CUDA else torch.float32  # at batch 1 faster than bfloat16, AMX or not
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        self._model = model.to(device.value).eval()
        self._profile = profile
        self._max_tokens = max_tokens

    def say(self, history: Sequence[Said], context_tokens: int) -> Said | None:
        """The next utterance; None where the prompt leaves no room for one."""
        text = prompt_text(history, self._profile, self._tokenizer.bos_token, self._tokenizer.eos_token)
        prompt = self._tokenizer(text, return_tensors="pt", add_special_tokens=False).to(self._model.device)
        length = int(prompt["input_ids"].shape[1])
        if length >= context_tokens:
            return None
        with torch.inference_mode():
            (ids,) = self._model.generate(
                **{name: prompt[name] for name in ("input_ids", "attention_mask")},
                do_sample=True,
                temperature=_TEMPERATURE,
                top_k=0,
                top_p=1.0,
                max_new_tokens=min(self._max_tokens, context_tokens - length),
                pad_token_id=self._tokenizer.eos_token_id,
            )
        answer = ids[length:]
        said = str(self._tokenizer.decode(answer, skip_special_tokens=True))
        return Said(self._profile.target_role, said, length, len(answer))


def prompt_text(history: Sequence[Said], profile: DyadicProfile, bos: str, eos: str) -> str:
    """What the profile's side is to continue, as text with its control tokens."""
    turns = "".join(f"{_NAMES[said.role]}: {bos}{said.text}{eos}" for said in history)
    return f"{bos}{profile.header}{turns}{_NAMES[profile.target_role]}: {bos}"


def utterances(speakers: Sequence[Speaker], *, max_turns: int | None, context_tokens: int) -> Iterator[Said]:
    """Dialogue after dialogue, without end; what a dialogue drops at its end is given too, as it was generated."""
    while True:
        history: list[Said] = []
        for speaker in itertools.islice(itertools.cycle(speakers), max_turns):
            said = speaker.say(history, context_tokens)
            if said is None:
                break
            yield said
            if said.role == USER and said.num_prompt_tokens + said.num_tokens >= context_tokens:
                break
            history.append(said)


def main(
    simulator: Annotated[str, typer.Argument(help="Model folder.")],
    respondent: Annotated[str, typer.Argument(help="Model folder.")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Measured; the utterance then being made is counted.")] = 60,
    max_turns: Annotated[int, typer.Option(min=2)] = 6,
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
    context_tokens: Annotated[int, typer.Option(min=16)] = 1024,
    device: Device = Device.CPU,
    seed: int = 0,
) -> None:
    """Make dialogues the paper's way for a time, and count."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    pair = [
        BlockingSpeaker(simulator, SOCRATIC, device, max_tokens),
        BlockingSpeaker(respondent, PLATOLM, device, max_tokens),
    ]
    said = utterances(pair, max_turns=max_turns, context_tokens=context_tokens)
    for _ in range(max_turns):  # a whole dialogue
        next(said)
    print("warm", flush=True)
    sys.stdin.readline()
    tokens, started = 0, time.monotonic()
    while (spent := time.monotonic() - started) < seconds:
        tokens += next(said).num_tokens
    print(json.dumps({"generated_tokens": tokens, "seconds": spent}))


if __name__ == "__main__":
    typer.run(main)
