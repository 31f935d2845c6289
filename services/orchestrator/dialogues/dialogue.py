"""A talk that goes on: the models' utterances in turns, as events, until a rule ends it or enough was said."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from platolm.conversation import SYSTEM, TerminationReason, other_role
from platolm.dialogues_api import (
    DialogueDone,
    DialogueEnded,
    DialogueEvent,
    DialogueFailed,
    DialogueRequest,
    DialogueTurn,
    Role,
    UtteranceAgain,
    UtteranceBegun,
    UtteranceToken,
)
from platolm.endings import FinishReason, SpokenTurn, ending_of, should_regenerate
from platolm.errors import SpeakerError
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault
from platolm.spec import Retries, sampling_seed, speaker_profile
from services.orchestrator.dialogues.gateways import GatewayClient, NoRoomError, Piece

_REGENERATIONS = Retries().regenerations


@dataclass(frozen=True)
class _Given:
    """A message of the request, whoever wrote it."""

    role: str
    content: str
    finish_reason: FinishReason = FinishReason.SEED
    end: End | None = None
    fault: Fault | None = None


@dataclass
class _Heard:
    """What came of one utterance so far; `num_tokens` are the engine's, the eos included."""

    text: str = ""
    num_tokens: int = 0
    finish_reason: str | None = None
    num_prompt_tokens: int = 0
    end: End | None = None
    num_cached_tokens: int | None = None
    model: str = ""
    profile: str | None = None

    def take(self, piece: Piece) -> None:
        self.text += piece.text
        self.num_tokens += piece.num_tokens
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.num_prompt_tokens = piece.num_prompt_tokens or self.num_prompt_tokens
        self.num_cached_tokens = self.num_cached_tokens if piece.num_cached_tokens is None else piece.num_cached_tokens
        self.model = piece.model or self.model
        self.profile = piece.profile or self.profile
        self.end = piece.end or self.end


class Dialogue:
    """One request's talk. `gateways` maps a role to its model server."""

    def __init__(self, request: DialogueRequest, gateways: Mapping[str, GatewayClient]) -> None:
        self._request = request
        self._gateways = gateways
        self._seed = request.seed if request.seed is not None else secrets.randbelow(2**31)
        self._session_id = request.session_id or secrets.token_hex(12)
        self._turns: list[SpokenTurn] = [_Given(message.role, message.content) for message in request.messages]

    async def events(self) -> AsyncGenerator[DialogueEvent, None]:
        """The talk's events, the last of them `ended`, `done` or `error`. Closing the generator stops the engine."""
        try:
            async with aclosing(self._spoken()) as events:
                async for event in events:
                    yield event
        except NoRoomError:
            yield DialogueEnded(termination_reason=TerminationReason.CONTEXT_FULL)
        except SpeakerError as error:
            yield DialogueFailed(detail=str(error), retryable=error.retryable)

    async def _spoken(self) -> AsyncGenerator[DialogueEvent, None]:
        reason = ending_of(self._turns, self._request.endings)
        role, num_made = self._request.first_speaker, 0
        while reason is None and num_made < self._request.num_turns:
            async with aclosing(self._turn(role)) as events:
                async for event in events:
                    yield event
            reason = ending_of(self._turns, self._request.endings)
            role, num_made = other_role(role), num_made + 1
        yield DialogueDone(num_turns=num_made) if reason is None else DialogueEnded(termination_reason=reason)

    async def _turn(self, role: str) -> AsyncGenerator[DialogueEvent, None]:
        """The next turn; made again with another seed where it would end the talk too early."""
        position, endings = len(self._turns), self._request.endings
        yield UtteranceBegun(turn_index=position, role=cast("Role", role))
        for regeneration in range(_REGENERATIONS + 1):
            seed, started, heard = sampling_seed(self._seed, 0, position, regeneration), time.monotonic(), _Heard()
            if regeneration:
                yield UtteranceAgain(turn_index=position)
            async with self._stream(role, seed) as pieces:
                async for piece in pieces:
                    heard.take(piece)
                    if piece.text:
                        yield UtteranceToken(turn_index=position, text=piece.text)
            turn = self._made(role, heard, seed, time.monotonic() - started)
            if not should_regenerate(ending_of([*self._turns, turn], endings), position + 1, endings):
                break
        self._turns.append(turn)
        yield turn

    @asynccontextmanager
    async def _stream(self, role: str, seed: int) -> AsyncIterator[AsyncIterator[Piece]]:
        """An utterance's pieces, with room for no more than the talk's context leaves.

        How long the prompt is says the first piece. Where that leaves less than was asked for, it is asked again for as
        much as there is: the engine has the prompt in its cache by then, and the seed gives the same words.

        Raises:
            NoRoomError: the context is full.
        """
        side = self._request.side(role)
        async with aclosing(self._pieces(role, seed, side.max_tokens)) as pieces:
            first = await anext(pieces, Piece())
            if first.num_prompt_tokens is None:
                raise SpeakerError(f"what answers as the {role} gives no token ids: it must be a model server of ours")
            room = self._request.endings.context_tokens - first.num_prompt_tokens
            if room < 1:
                raise NoRoomError
            if room >= side.max_tokens:
                yield _with_first(first, pieces)
                return
        async with aclosing(self._pieces(role, seed, room)) as pieces:
            yield pieces

    def _pieces(self, role: str, seed: int, max_tokens: int) -> AsyncGenerator[Piece, None]:
        side = self._request.side(role)
        system = [{"role": SYSTEM, "content": side.system_prompt}] if side.system_prompt else []
        said = [{"role": turn.role, "content": turn.content} for turn in self._turns]
        body: dict[str, Any] = {
            "messages": [*system, *said],
            "max_tokens": max_tokens,
            "seed": seed,
            **{name: value for name, value in side.sampling.said().items() if name != "max_tokens"},
        }
        return self._gateways[role].pieces(body, session_id=self._session_id)

    def _made(self, role: str, heard: _Heard, seed: int, duration_s: float) -> DialogueTurn:
        if heard.finish_reason is None:
            raise SpeakerError(f"the {role}'s utterance came to no end: try again", retryable=True)
        ended_itself = heard.finish_reason == "stop"
        cut = FinishReason.CONTEXT if heard.num_tokens < self._request.side(role).max_tokens else FinishReason.LENGTH
        return DialogueTurn(
            turn_index=len(self._turns),
            role=cast("Role", role),
            content=heard.text,
            num_tokens=max(heard.num_tokens - ended_itself, 0),  # then the last one is the eos
            num_prompt_tokens=heard.num_prompt_tokens,
            num_cached_tokens=heard.num_cached_tokens,
            finish_reason=FinishReason.STOP if ended_itself else cut,
            sampling_seed=seed,
            duration_s=round(duration_s, 3),
            model=heard.model,
            profile=heard.profile,
            end=_goodbye(heard),
        )


def _goodbye(heard: _Heard) -> End | None:
    """A model server calls every blank utterance an end; only some simulators say goodbye so."""
    if heard.end is not End.BLANK or heard.profile is None:
        return heard.end
    return speaker_profile(heard.profile).clean("").end


async def _with_first(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece
