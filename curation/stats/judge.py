"""A judge's scores of conversations, 1 to 10, by the paper's four criteria; any OpenAI-compatible server may judge.

Each judgment is written to a file of JSON lines as it comes, under a digest of what was asked and of whom: what is
there already is not asked again, by whichever command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from curation.evaluation.bounded import work_through
from curation.evaluation.endpoint import Endpoint, EndpointSettings, Usage, is_about_one_request, open_endpoint
from curation.evaluation.journal import Journal, open_journal
from curation.evaluation.report import Price
from curation.stats.figures import Cost
from curation.stats.sample import Sampled
from platolm.conversation import ASSISTANT, USER, Message
from platolm.errors import SpeakerError

MAX_CHARS = 24_000
"""Longer conversations are judged by their beginning."""

_NAMES = {USER: "Human", ASSISTANT: "Assistant"}
_OBJECT = re.compile(r"\{[^{}]*\}")
_MAX_REPLY_TOKENS = 300
_INSTRUCTION = """\
You rate the human's side of a conversation between a human and an AI assistant. Look only at what the human says, and \
give a whole number from 1 (poor) to 10 (excellent) for each of these:
complexity: how much thought and knowledge the human's turns ask for;
relevancy: how well each of the human's turns fits what was said before it;
logicality: how sensibly the human's turns follow from one another;
diversity: how varied the human's turns are in topic, aim and wording.
Answer with one JSON object and nothing else, like \
{"complexity": 5, "relevancy": 5, "logicality": 5, "diversity": 5}."""


class Scores(BaseModel):
    """One conversation's."""

    complexity: int = Field(ge=1, le=10)
    relevancy: int = Field(ge=1, le=10)
    logicality: int = Field(ge=1, le=10)
    diversity: int = Field(ge=1, le=10)


@dataclass(frozen=True)
class JudgeSettings:
    """Who judges how many conversations, and where judgments are kept; `price` None: the cost is not known."""

    endpoint: EndpointSettings
    journal: Path
    conversations: int = 100
    price: Price | None = None


@dataclass(frozen=True)
class Judged:
    """Scores by the conversation's place in what was given; those that could not be had are not there."""

    model: str
    scores: Mapping[int, Scores]
    num_failed: int
    cost: Cost


async def judge(
    sample: Sequence[Sampled], settings: JudgeSettings, on_judged: Callable[[int, float], None] = lambda _, __: None
) -> Judged:
    """Scores of the first `settings.conversations` of a sample; the cost is of this call's requests.

    `on_judged` is called with how many are done, and the share of all.

    Raises:
        InputError, SpeakerError: the judge cannot be asked.
        OutputError, BadLinesError: the file of judgments cannot be used.
    """
    async with open_endpoint(settings.endpoint) as endpoint:
        with open_journal(settings.journal) as journal:
            bench = _Bench(endpoint, journal)
            chosen = list(enumerate(sample[: settings.conversations]))

            async def score(item: tuple[int, Sampled]) -> None:
                await bench.score(item)
                on_judged(bench.num_done, bench.num_done / len(chosen))

            await work_through(chosen, score, at_once=endpoint.concurrency)
    return Judged(endpoint.model, bench.scores, bench.num_failed, _cost(bench, settings))


class _Bench:
    """What the requests of one call have in common."""

    def __init__(self, endpoint: Endpoint, journal: Journal) -> None:
        self._endpoint = endpoint
        self._journal = journal
        self._known = _known_scores(journal)
        self.scores: dict[int, Scores] = {}
        self.usage = Usage()
        self.num_requests = 0
        self.num_failed = 0

    @property
    def num_done(self) -> int:
        return len(self.scores) + self.num_failed

    async def score(self, item: tuple[int, Sampled]) -> None:
        place, sampled = item
        messages = judge_messages(sampled.messages)
        key = sha256(json.dumps([self._endpoint.model, messages]).encode()).hexdigest()
        scores = self._known.get(key) or await self._ask(messages)
        if scores is None:
            self.num_failed += 1
            return
        if key not in self._known:
            self._known[key] = scores
            row = {"key": key, "id": sampled.id, "model": self._endpoint.model, "scores": scores.model_dump()}
            self._journal.add(row)
        self.scores[place] = scores

    async def _ask(self, messages: Sequence[Mapping[str, str]]) -> Scores | None:
        """Scores; None where the judge gave none that can be read, or did not take this conversation."""
        try:
            reply = await self._endpoint.ask(messages, temperature=0, max_tokens=_MAX_REPLY_TOKENS)
        except SpeakerError as error:
            if is_about_one_request(error):
                return None
            raise
        self.num_requests += 1
        self.usage += reply.usage
        return read_scores(reply.text)


def _known_scores(journal: Journal) -> dict[str, Scores]:
    """By digest. Rows of something else are passed over."""
    known = {}
    for row in journal.rows:
        try:
            known[str(row["key"])] = Scores.model_validate(row["scores"])
        except (KeyError, ValidationError):
            continue
    return known


def judge_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """What the judge is asked of a conversation."""
    spoken = (f"{_NAMES[one.role]}: {one.content}" for one in messages if one.role in _NAMES)
    text = "\n\n".join(spoken)[:MAX_CHARS]
    return [
        {"role": "system", "content": _INSTRUCTION},
        {"role": "user", "content": f"The conversation:\n\n{text}\n\nYour rating of the human's side, as JSON:"},
    ]


def read_scores(reply: str) -> Scores | None:
    """The scores in a reply: the last JSON object in it that holds all four; None without one."""
    for found in reversed(_OBJECT.findall(reply)):
        try:
            return Scores.model_validate_json(found)
        except ValidationError:
            continue
    return None


def _cost(bench: _Bench, settings: JudgeSettings) -> Cost:
    return Cost(
        requests=bench.num_requests,
        prompt_tokens=bench.usage.prompt_tokens,
        completion_tokens=bench.usage.completion_tokens,
        amount=settings.price.of(bench.usage) if settings.price is not None else None,
    )
