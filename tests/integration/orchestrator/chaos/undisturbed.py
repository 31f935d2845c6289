"""What a run says when nothing disturbs it, worked out in this process: same prompts, same engines, no queue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import FinishReason, ending_of
from platolm.runs import conversation_id
from platolm.speakers import TokenSpeaker
from platolm.spec import RunSpec, Seed, sampling_seed, seed_position, speaker_profile
from platolm.utterances import Utterance
from services.orchestrator.conversations.state import ConversationState
from tests.fakes.engine import FakeEngine

Record = dict[str, Any]

_TIMES = ("started_at", "finished_at")
_TURN_TIMES = ("duration_s", "num_cached_tokens")


def undisturbed(
    run_id: str, spec: RunSpec, engines: Mapping[str, FakeEngine], seeds: Sequence[Seed] = (Seed(),)
) -> dict[int, Record]:
    """Every conversation of a run by index, as `content` gives it; `engines` by role, `seeds` as the run takes them."""
    sides = {role: _speaker(spec, role, engines) for role in (USER, ASSISTANT)}
    records = {}
    for index in range(spec.conversations):
        seed = seeds[seed_position(index, spec, len(seeds))]
        state = ConversationState(conversation_id(run_id, index), run_id, index, spec, seed, sides)
        reason = _converse(state, engines)
        records[index] = content(json.loads(state.record(reason)))
    return records


def content(record: Record) -> Record:
    """A record without what depends on the clock."""
    turns = [{name: how for name, how in turn.items() if name not in _TURN_TIMES} for turn in record["turns"]]
    return {name: value for name, value in record.items() if name not in _TIMES} | {"turns": turns}


def _speaker(spec: RunSpec, role: str, engines: Mapping[str, FakeEngine]) -> TokenSpeaker:
    side = spec.simulator if role == USER else spec.respondent
    return TokenSpeaker(
        profile=speaker_profile(side.profile),
        tokenizer=engines[role].tokenizer,
        model=engines[role].model,
        sampling=side.sampling,
        context_tokens=min(spec.endings.context_tokens, *(engine.max_model_len for engine in engines.values())),
    )


def _converse(state: ConversationState, engines: Mapping[str, FakeEngine]) -> TerminationReason:
    while True:
        given = state.given_turn()
        if given is not None and (not state.turns or state.turns[-1].finish_reason is FinishReason.SEED):
            state.add(given)
            continue
        reason = ending_of(state.turns, state.spec.endings)
        if reason in (None, TerminationReason.TURN_LIMIT) and state.is_exhausted:
            return TerminationReason.SEED_EXHAUSTED
        if reason is not None:
            return reason
        if given is not None:
            state.add(given)
            continue
        role = state.next_role
        if state.room(role) < 1:
            return TerminationReason.CONTEXT_FULL
        seed = sampling_seed(state.spec.seed, state.index, len(state.turns))
        state.add(state.generated_turn(role, _utterance(state, role, engines[role], seed), seed))


def _utterance(state: ConversationState, role: str, engine: FakeEngine, seed: int) -> Utterance:
    speaker = state.sides[role]
    assert isinstance(speaker, TokenSpeaker)
    prompt = state.prompt(role).packed()
    wanted, room = speaker.sampling.max_tokens, state.room(role)
    choice = engine.says(prompt, seed=seed, max_tokens=min(wanted, room))
    ids = [token_id for token_id in choice["token_ids"] if token_id != speaker.tokenizer.eos_id]
    cut_short = FinishReason.LENGTH if wanted <= room else FinishReason.CONTEXT
    return Utterance(
        content=speaker.tokenizer.decode(ids),
        token_ids=ids,
        num_prompt_tokens=len(prompt),
        finish_reason=FinishReason.STOP if choice["finish_reason"] == "stop" else cut_short,
        duration_s=0.0,
    )
