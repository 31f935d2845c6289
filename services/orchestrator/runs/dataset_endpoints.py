"""HTTP of a run's dataset: its manifest and segments as they are, or all of it in another form."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, BinaryIO

from fastapi import APIRouter, HTTPException, Path, Query
from fastapi.responses import StreamingResponse

from platolm.browse_api import MarkFilter
from platolm.runs_api import MANIFEST_PAGE, DatasetFormat, Manifest
from services.orchestrator.datasets.exports import export, media_type_of
from services.orchestrator.runs.dependencies import Run, Service
from services.orchestrator.web.refusals import NO_OUTPUT, NOT_FOUND, Answers

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["datasets"])

SEGMENT_MEDIA_TYPE = "application/octet-stream"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
DATASET: Answers = {200: {"content": {media_type_of(form): _BINARY for form in DatasetFormat}}}
_SEGMENT: Answers = {200: {"content": {SEGMENT_MEDIA_TYPE: _BINARY}}}
_CHUNK_BYTES = 256 * 1024


class Streamed(StreamingResponse):
    """Bytes of a type that is known when the answer is made."""

    media_type = None


@router.get("/manifest", responses={**NOT_FOUND, **NO_OUTPUT})
async def manifest(
    run: Run,
    service: Service,
    after: Annotated[int, Query(ge=0, lt=10**8)] = 0,
    limit: Annotated[int, Query(ge=1, le=MANIFEST_PAGE)] = MANIFEST_PAGE,
) -> Manifest:
    """Up to `limit` committed segments, numbered above `after`; with as many as `limit` there may be more."""
    entries = service.place(run).manifest(after=after)
    return Manifest(entries=await asyncio.to_thread(list, islice(entries, limit)))


@router.get("/segments/{name}", responses={**_SEGMENT, **NOT_FOUND, **NO_OUTPUT}, response_class=Streamed)
async def segment(run: Run, service: Service, name: Annotated[str, Path(max_length=100)]) -> Streamed:
    """A segment's bytes: JSON lines in zstd, or Parquet."""
    file = await asyncio.to_thread(service.place(run).open_segment, name)
    if file is None:
        raise HTTPException(404, f"run {run.id} has no segment {name}")
    return Streamed(_chunks(file), media_type=SEGMENT_MEDIA_TYPE)


@router.get("/dataset", responses={**DATASET, **NOT_FOUND, **NO_OUTPUT}, response_class=Streamed)
async def dataset(
    run: Run,
    service: Service,
    form: Annotated[DatasetFormat, Query(alias="format")] = DatasetFormat.SHAREGPT,
    mark: Annotated[MarkFilter | None, Query(description="only conversations that a person marked so")] = None,
) -> Streamed:
    """What is committed so far, in the order of commitment; it may be fetched while the run goes on.

    Records carry `mark` and `note` where a person has said so.
    """
    pieces = export(service.place(run).place, form, mark)
    first = await asyncio.to_thread(next, pieces, b"")  # what cannot be read at all is said before the answer begins
    return Streamed(chain([first], pieces), media_type=media_type_of(form))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
