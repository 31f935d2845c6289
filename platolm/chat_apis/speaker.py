"""Who makes the next utterance where that is a chat API: messages in, text out, within a budget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.answers import ChatAnswer, estimated_tokens
from platolm.chat_apis.api import Bill, ChatApi, ChatRequest, Show
from platolm.chat_apis.budget import Budget, Hold
from platolm.chat_apis.prices import Usage
from platolm.chat_apis.prompt import ChatPrompt
from platolm.endings import FinishReason
from platolm.errors import ContextFullError, MisconfiguredError, SpeakerError
from platolm.sampling import Sampling
from platolm.simulators.told import NOTHING_TOLD, Told
from platolm.speaker_profile import SpeakerProfile
from platolm.utterances import Utterance


@dataclass(frozen=True, slots=True)
class ChatUtterance(Utterance):
    """What an API said. Its `token_ids` are not known, so that it is never `intact`; `num_tokens` is their number.

    `cost_nanos` is None where the prices are not known.
    """

    num_tokens: int = 0
    cost_nanos: int | None = None


@dataclass(frozen=True)
class ChatSpeaker:
    """One side of a run's conversations, behind chat APIs: the face of a `platolm.speakers.TokenSpeaker`.

    `context_tokens` bounds prompt plus utterance; the prompt is estimated until the API has counted it. `models` names
    each API's model. `account` and `budget` are the run's; `keep` is given the account after every request.
    """

    profile: SpeakerProfile
    sampling: Sampling
    context_tokens: int
    models: Mapping[str, str] = field(default_factory=dict)
    account: SideAccount = field(default_factory=SideAccount)
    budget: Budget | None = None
    keep: Callable[[SideAccount], Awaitable[None]] | None = None

    @property
    def role(self) -> str:
        return self.profile.role

    def model_of(self, api: str | None) -> str:
        """The model of an API; of all of them where none is named."""
        return self.models.get(api or "") or ", ".join(dict.fromkeys(self.models.values()))

    def new_prompt(self, told: Told = NOTHING_TOLD) -> ChatPrompt:
        """An empty conversation as this side sees it."""
        return ChatPrompt(self.profile, told)

    def num_tokens(self, text: str) -> int:
        """About how many tokens a text has."""
        return estimated_tokens(text)

    def text_so_far(self, said: str) -> str:
        """What is certain to be kept of an utterance that has come so far."""
        return self.profile.stream_cleaner().feed(said)

    def room(self, prompt: ChatPrompt) -> int:
        """Tokens left for the utterance; none or less: the context is full."""
        return self.context_tokens - len(prompt)

    async def speak(self, place: ChatApi, prompt: ChatPrompt, *, seed: int, show: Show | None = None) -> ChatUtterance:
        """Have an API make one utterance. With `show` it is streamed, and `show` called with all that was said so far.

        An API that finds the conversation too long gives a blank utterance that the context ended.

        Raises:
            BudgetSpentError: the run's budget does not bear the utterance.
            SpeakerError: as `ChatApi.ask`.
        """
        room = self.room(prompt)
        assert room > 0, "the caller ends a conversation whose context is full"
        max_tokens = min(self.sampling.max_tokens, room)
        request = ChatRequest(prompt.messages(), self._sampling_fields(), max_tokens, len(prompt), seed)
        try:
            answer, usage, cost_nanos = await self._paid(place, request, show)
        except ContextFullError:
            return _cut_by_context(len(prompt), place.name)
        if not usage.is_estimate:
            prompt.counted(usage.prompt)
        said = self.profile.clean(answer.content)
        return ChatUtterance(
            content=said.content,
            token_ids=[],
            num_prompt_tokens=usage.prompt,
            finish_reason=_finish_reason(answer, usage, max_tokens, self.sampling.max_tokens),
            duration_s=round(answer.duration_s, 3),
            num_cached_tokens=None if usage.is_estimate else usage.cached,
            end=said.end,
            marker=said.marker,
            intact=False,
            api=place.name,
            num_tokens=usage.generated,
            cost_nanos=cost_nanos,
        )

    def _sampling_fields(self) -> dict[str, Any]:
        return self.profile.sampling(self.sampling).said()

    async def _paid(
        self, api: ChatApi, request: ChatRequest, show: Show | None
    ) -> tuple[ChatAnswer, Usage, int | None]:
        """An answer, what it used and what it cost; held of the budget meanwhile, and counted whatever came of it."""
        bill = api.bill(request)
        hold = await self._hold(api, bill)
        try:
            answer = await api.ask(request, bill, show)
            estimate = Usage(request.prompt_tokens, estimated_tokens(answer.content), is_estimate=True)
            usage = answer.usage or estimate
            bill.answered(usage)
            self.account.answered(usage, bill.nanos, answer.duration_s)
            return answer, usage, bill.nanos
        except ContextFullError:
            raise
        except SpeakerError as error:
            if bill.was_sent:
                self.account.failed(throttled=error.status == 429, cost_nanos=bill.nanos)
            raise
        finally:
            if self.budget is not None and hold is not None:
                await self.budget.settle(hold, bill.nanos or 0)
            if self.keep is not None and bill.was_sent:
                await self.keep(self.account)

    async def _hold(self, api: ChatApi, bill: Bill) -> Hold | None:
        if self.budget is None:
            return None
        if bill.most_nanos is None:
            raise MisconfiguredError(
                f"{api.name}: the price of {api.endpoint.model} is not known, and the run has a budget: "
                "add it to the price table"
            )
        return await self.budget.hold(bill.most_nanos)


def _cut_by_context(num_prompt_tokens: int, api: str) -> ChatUtterance:
    return ChatUtterance("", [], num_prompt_tokens, FinishReason.CONTEXT, 0.0, intact=False, api=api)


def _finish_reason(answer: ChatAnswer, usage: Usage, max_tokens: int, wanted_tokens: int) -> FinishReason:
    """`length` before so many tokens as were asked for is the API's own context."""
    if answer.finish_reason != "length":
        return FinishReason.STOP
    is_short = not usage.is_estimate and usage.generated < max_tokens
    return FinishReason.LENGTH if max_tokens == wanted_tokens and not is_short else FinishReason.CONTEXT
