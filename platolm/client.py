"""The orchestrator's API from a caller's side: submit a run, follow it, fetch its dataset."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ValidationError

from platolm.browse_api import MarkFilter
from platolm.dataset import ManifestEntry
from platolm.dialogues_api import (
    DIALOGUE_EVENTS,
    LAST_EVENTS,
    DialogueEvent,
    DialogueRequest,
    SavedTalk,
    Speakers,
    TalkRequest,
)
from platolm.errors import ApiError, InputError
from platolm.runs import DeadConversation, RunProgress, TurnEvent
from platolm.runs_api import (
    DEFAULT_PAGE_SIZE,
    MANIFEST_PAGE,
    ConversationDetail,
    ConversationPage,
    ConversationState,
    DatasetFormat,
    DeadList,
    Manifest,
    RetriedDead,
    RunList,
)
from platolm.spec import RunRequest

DEFAULT_API_URL = "http://127.0.0.1:8000"
IDEMPOTENCY_HEADER = "Idempotency-Key"

_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_DETAIL_CHARS = 300
_CONNECT_TIMEOUT_S = 5.0
_BULK_TIMEOUT_S = 300.0
"""For a body of many megabytes: a large seed list on its way in, a segment on its way out."""
_EVENT_SILENCE_S = 30.0
"""A live run says something about once a second; a stream that is silent for so long is dead."""


ModelT = TypeVar("ModelT", bound=BaseModel)


class OrchestratorClient:
    """An asynchronous client of one orchestrator; use it as a context manager.

    Every method raises `ApiError`, whose `retryable` says whether the same call may succeed later. An address that is
    none, or a key that no header carries, raises `InputError`.
    """

    def __init__(self, url: str = DEFAULT_API_URL, *, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"{url}: an API address begins with http:// or https://")
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            trust_env=not _is_loopback(self.url),
            headers=_authorization(api_key),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def ready(self) -> None:
        """Return when the API can take runs."""
        await self._call("GET", "/readyz")

    async def submit(self, request: RunRequest, *, idempotency_key: str) -> RunProgress:
        """Create a run; with a key that was used before, get the run that it created."""
        body = request.model_dump_json(exclude_none=True).encode()
        headers = {IDEMPOTENCY_HEADER: idempotency_key, "content-type": "application/json"}
        response = await self._call("POST", "/v1/runs", content=body, headers=headers, timeout=_BULK_TIMEOUT_S)
        return _parsed(RunProgress, response)

    async def runs(self) -> list[RunProgress]:
        """Every run that the API knows."""
        return _parsed(RunList, await self._call("GET", "/v1/runs")).runs

    async def run(self, run_id: str) -> RunProgress:
        """How far a run is."""
        return _parsed(RunProgress, await self._call("GET", _run_path(run_id)))

    async def pause(self, run_id: str) -> RunProgress:
        """Hand out nothing new of a run; what is in flight stops after its utterance."""
        return _parsed(RunProgress, await self._call("POST", _run_path(run_id, "pause")))

    async def resume(self, run_id: str, *, budget: float | None = None) -> RunProgress:
        """Have a paused run go on; with `budget` it may spend so much in all from now on."""
        options = {} if budget is None else {"json": {"budget": budget}}
        return _parsed(RunProgress, await self._call("POST", _run_path(run_id, "resume"), **options))

    async def cancel(self, run_id: str) -> RunProgress:
        """Give up what of a run is not finished; its dataset keeps what is."""
        return _parsed(RunProgress, await self._call("POST", _run_path(run_id, "cancel")))

    async def retry_dead(self, run_id: str) -> RetriedDead:
        """Hand the dead conversations out again, each from its last turn on."""
        return _parsed(RetriedDead, await self._call("POST", _run_path(run_id, "retry-dead")))

    async def conversations(
        self,
        run_id: str,
        *,
        state: ConversationState | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_PAGE_SIZE,
    ) -> ConversationPage:
        """A page of a run's conversations; `cursor` is the `next_cursor` of the page before."""
        wanted = {"state": state, "cursor": cursor, "limit": limit}
        params = {name: value for name, value in wanted.items() if value is not None}
        response = await self._call("GET", _run_path(run_id, "conversations"), params=params)
        return _parsed(ConversationPage, response)

    async def conversation(self, conversation_id: str) -> ConversationDetail:
        """One conversation with its turns."""
        path = f"/v1/conversations/{quote(conversation_id, safe='')}"
        return _parsed(ConversationDetail, await self._call("GET", path))

    async def dataset(
        self, run_id: str, form: DatasetFormat = DatasetFormat.SHAREGPT, mark: MarkFilter | None = None
    ) -> AsyncGenerator[bytes, None]:
        """What is committed of a run so far, as one file's bytes: all of it, or what is marked so.

        A stream that is cut short is an `ApiError`.
        """
        timeout = httpx2.Timeout(_BULK_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
        url = self.url + _run_path(run_id, "dataset")
        params = {"format": form.value, **({"mark": mark.value} if mark is not None else {})}
        with _as_api_errors(self.url):
            async with self._http.stream("GET", url, params=params, timeout=timeout) as response:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                async for chunk in response.aiter_bytes():
                    yield chunk

    async def manifest(self, run_id: str, *, after: int = 0) -> list[ManifestEntry]:
        """The committed segments numbered above `after`, all of them."""
        entries: list[ManifestEntry] = []
        while True:
            params = {"after": entries[-1].number if entries else after, "limit": MANIFEST_PAGE}
            page = _parsed(Manifest, await self._call("GET", _run_path(run_id, "manifest"), params=params)).entries
            entries += page
            if len(page) < MANIFEST_PAGE:
                return entries

    async def segment(self, run_id: str, name: str) -> bytes:
        """A segment's bytes as they were committed; compare them with the manifest's sha256."""
        return (await self._call("GET", _run_path(run_id, "segments", name), timeout=_BULK_TIMEOUT_S)).content

    async def dead(self, run_id: str) -> list[DeadConversation]:
        """The conversations that failed for good."""
        return _parsed(DeadList, await self._call("GET", _run_path(run_id, "dead"))).dead

    async def events(self, run_id: str) -> AsyncIterator[TurnEvent | RunProgress]:
        """What happens in a run from now on, until the server ends the stream (the run is complete, or it stops)."""
        with _as_api_errors(self.url):
            timeout = httpx2.Timeout(_EVENT_SILENCE_S, connect=_CONNECT_TIMEOUT_S)
            async with self._http.sse(self.url + _run_path(run_id, "events"), timeout=timeout) as source:
                if source.response.is_error:
                    await source.response.aread()
                    raise _refusal(source.response)
                async for event in source:
                    if event.event == "turn":
                        yield _parse_event(TurnEvent, event.data)
                    elif event.event == "progress":
                        yield _parse_event(RunProgress, event.data)

    async def speakers(self) -> Speakers:
        """Which models can speak in talks now."""
        return _parsed(Speakers, await self._call("GET", "/v1/dialogues/speakers"))

    async def dialogue(self, request: DialogueRequest) -> AsyncGenerator[DialogueEvent, None]:
        """The models' utterances from here on, as they are made; who closes it stops the model.

        The last event is one of `LAST_EVENTS`; a stream that is cut short is an `ApiError`.
        """
        options: dict[str, Any] = {
            "content": request.model_dump_json(exclude_defaults=True).encode(),
            "headers": {"content-type": "application/json"},
            "timeout": httpx2.Timeout(_EVENT_SILENCE_S, connect=_CONNECT_TIMEOUT_S),
            "max_event_size": None,
        }
        with _as_api_errors(self.url):
            async with self._http.sse(f"{self.url}/v1/dialogues", method="POST", **options) as source:
                if source.response.is_error:
                    await source.response.aread()
                    raise _refusal(source.response)
                async for event in source:
                    if (kind := DIALOGUE_EVENTS.get(event.event)) is not None:
                        yield (said := _parse_event(kind, event.data))
                        if isinstance(said, LAST_EVENTS):
                            return
        raise ApiError(f"the API at {self.url} broke off in the middle of a talk", retryable=True)

    async def save_talk(self, talk: TalkRequest) -> SavedTalk:
        """Put a talk into the dataset of saved talks."""
        headers = {"content-type": "application/json"}
        return _parsed(
            SavedTalk, await self._call("POST", "/v1/talks", content=talk.model_dump_json().encode(), headers=headers)
        )

    async def _call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with _as_api_errors(self.url):
            response = await self._http.request(method, self.url + path, **options)
        if response.is_error:
            raise _refusal(response)
        return response


def _run_path(run_id: str, *parts: str) -> str:
    return "/".join(["/v1/runs", *(quote(part, safe="") for part in (run_id, *parts))])


def _authorization(api_key: str | None) -> dict[str, str]:
    key = (api_key or "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("the API key holds characters that no HTTP header carries")
    return {"authorization": f"Bearer {key}"} if key else {}


def _is_loopback(url: str) -> bool:
    """A proxy from the environment cannot reach this machine's own loopback."""
    host = httpx2.URL(url).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _as_api_errors(url: str) -> Iterator[None]:
    try:
        yield
    except httpx2.InvalidURL as error:
        raise ApiError(f"{url} is not an address: {error}") from error
    except httpx2.TransportError as error:
        reason = str(error) or type(error).__name__
        raise ApiError(f"the API at {url} does not answer ({reason})", retryable=True) from error
    except httpx2.HTTPError as error:
        raise ApiError(f"the API at {url} gave an answer that cannot be read ({error})") from error


def _refusal(response: httpx2.Response) -> ApiError:
    status = response.status_code
    retryable = status in _RETRYABLE_STATUS
    hint = "; give it a key (PLATOLM_API_KEY)" if status == 401 else ""
    return ApiError(f"the API says: {_detail(response)} (HTTP {status}){hint}", status=status, retryable=retryable)


def _detail(response: httpx2.Response) -> str:
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.text or response.reason_phrase
    return " ".join(str(detail).split())[:_MAX_DETAIL_CHARS]


def _parsed(model: type[ModelT], response: httpx2.Response) -> ModelT:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise _unexpected(str(response.request.url), error) from error


def _parse_event(model: type[ModelT], data: str) -> ModelT:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _unexpected(f"event {model.__name__}", error) from error


def _unexpected(source: str, error: ValidationError) -> ApiError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "its body"
    return ApiError(f"{source} is not what this version expects of an orchestrator: {where}: {first['msg']}")
