"""From a request's body to a run's folder: read, compared with the operator's lists and the models, written.

All of it is one blocking function, so that a large body can be worked through in a process of its own, which takes
neither the API's time nor, afterwards, its memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from platolm.chat_apis.use import EstimatedCost
from platolm.errors import InputError
from platolm.spec import RunRequest, RunSpec, Seed
from services.orchestrator.datasets.run_place import RunPlaces
from services.orchestrator.engines.sides import SideDescription
from services.orchestrator.runs.admission import NoUsableSeedError, admit
from services.orchestrator.runs.allowed import refusal_of
from services.orchestrator.runs.chat_costs import ChatPrices, budget_warnings, estimated, refused_apis
from services.orchestrator.web.problems import InvalidRequestError, Problem, problems_of

_ENDPOINTS = "PLATOLM_API_ALLOWED_ENDPOINTS"
_OUTPUTS = "PLATOLM_API_ALLOWED_OUTPUTS"


@dataclass(frozen=True)
class Order:
    """What a body is taken in with. `found`: what workers found at the engines, by role; `chat_prices`: the operator's
    chat APIs.
    """

    run_id: str
    data_dir: Path
    allowed_endpoints: list[str]
    allowed_outputs: list[str]
    found: Mapping[str, SideDescription]
    chat_prices: ChatPrices
    only_digest: bool = False
    """The run exists already: see whether this is the same request, and write nothing."""


@dataclass(frozen=True)
class TakenIn:
    """A request that was understood; unless the order said otherwise, its run's folder is on disk."""

    spec: RunSpec
    digest: str
    """Hex SHA-256, equal for requests that ask for the same."""
    warnings: list[str]
    context_tokens: int | None = None
    """What a conversation may grow to, where that is known."""
    cost: EstimatedCost | None = None
    """What its chat APIs are likely to cost, where it asks any and their prices are known."""


def take_in(body: bytes | Path, order: Order) -> TakenIn:
    """Read a body, and write the run's folder.

    Raises:
        InvalidRequestError: the request is wrong, names a place or a chat API that is not allowed, or no seed fits.
        OutputError: the folder cannot be written.
    """
    request = _parsed(body.read_bytes() if isinstance(body, Path) else body)
    digest = _digest(request)
    if order.only_digest:
        return TakenIn(request.spec, digest, [])
    problems = [*_refused_urls(request.spec, order), *refused_apis(request.spec, order.chat_prices)]
    if problems:
        raise InvalidRequestError(problems)
    try:
        admitted = admit(request.spec, request.taken_seeds(), order.found)
    except NoUsableSeedError as error:
        raise InvalidRequestError([Problem(loc=["body", "seeds"], msg=str(error))]) from error
    _write(request.spec, admitted.seeds, order)
    cost = estimated(request.spec, admitted.seeds, order.chat_prices)
    warnings = [*admitted.warnings, *budget_warnings(request.spec, cost)]
    return TakenIn(request.spec, digest, warnings, admitted.context_tokens, cost)


def _write(spec: RunSpec, seeds: Iterable[Seed], order: Order) -> None:
    try:
        RunPlaces(order.data_dir, order.allowed_outputs).of(order.run_id, spec).create(spec, seeds)
    except InputError as error:
        raise InvalidRequestError([Problem(loc=["body", "spec", "output", "url"], msg=str(error))]) from error


def _parsed(body: bytes) -> RunRequest:
    try:
        return RunRequest.model_validate_json(body, strict=True)  # a text is no number, as the description says
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequestError(problems_of(found, root=("body",))) from None


def _digest(request: RunRequest) -> str:
    digest = hashlib.sha256(request.spec.digest().encode())
    for seed in request.seeds:
        digest.update(seed.model_dump_json(exclude_none=True).encode() + b"\n")
    return digest.hexdigest()


def _refused_urls(spec: RunSpec, order: Order) -> Iterator[Problem]:
    """Every engine and output place of a spec that the operator does not allow."""
    for name, side in (("simulator", spec.simulator), ("respondent", spec.respondent)):
        for position, url in enumerate(side.endpoints or []):
            refusal = refusal_of(url, order.allowed_endpoints, setting=_ENDPOINTS)
            if refusal is not None:
                yield Problem(loc=["body", "spec", name, "endpoints", position], msg=refusal)
    if spec.output.url is not None:
        refusal = refusal_of(spec.output.url, order.allowed_outputs, setting=_OUTPUTS)
        if refusal is not None:
            yield Problem(loc=["body", "spec", "output", "url"], msg=refusal)
