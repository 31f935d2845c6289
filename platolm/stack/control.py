"""How another process asks a running stack to replace its models: a Unix socket in the data folder.

One JSON line asks, one answers: `{"models": {"simulator": "DIR"}, "in_place": false}`, then `{"error": null}` or what
went wrong. Only the user who started the stack can connect.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from platolm.errors import InputError, PlatoLMError, StackError
from platolm.stack.local import LocalStack

SOCKET_NAME = "control.sock"

ServerName = Literal["simulator", "respondent"]


class ReplaceRequest(BaseModel):
    """Models by the name of the server that is to serve them."""

    model_config = ConfigDict(extra="forbid")

    models: dict[ServerName, str]
    in_place: bool = False


class ReplaceAnswer(BaseModel):
    """What came of it; `misuse` says that asking the same again will not help."""

    error: str | None = None
    misuse: bool = False
    log_tail: list[str] = []


@asynccontextmanager
async def control_socket(stack: LocalStack) -> AsyncIterator[None]:
    """Take requests while entered. One that is being carried out when its asker leaves is carried out."""
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_answer(stack, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with _own_path(stack.settings.data_dir) as path:
        server = await asyncio.start_unix_server(accepted, path)
        os.chmod(path, 0o600)
        try:
            yield
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def ask_to_replace(data_dir: Path, request: ReplaceRequest) -> None:
    """Have the stack that runs on a data folder serve other models; returns when it does.

    Raises:
        InputError: no stack runs there, or it cannot take such a model over.
        StackError: the new server did not come up, or the stack ended meanwhile.
    """
    try:
        with _short_path(data_dir) as path:
            reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise InputError(f"no stack runs on {data_dir}: start one with `platolm up`, or name its --data-dir") from error
    try:
        writer.write(request.model_dump_json().encode() + b"\n")
        line = await reader.readline()
    except OSError:
        line = b""
    finally:
        writer.close()
    if not line:
        raise StackError(f"the stack on {data_dir} ended before it had replaced its models")
    answer = ReplaceAnswer.model_validate_json(line)
    if answer.error is not None:
        raise InputError(answer.error) if answer.misuse else StackError(answer.error, log_tail=answer.log_tail)


async def _answer(stack: LocalStack, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        answer = await _carried_out(stack, await reader.readline())
        with suppress(OSError):
            writer.write(answer.model_dump_json().encode() + b"\n")
            await writer.drain()
    finally:
        writer.close()


async def _carried_out(stack: LocalStack, line: bytes) -> ReplaceAnswer:
    try:
        request = ReplaceRequest.model_validate_json(line)
    except ValidationError as error:
        return ReplaceAnswer(error=f"the stack cannot read this request: {error.errors()[0]['msg']}", misuse=True)
    try:
        await stack.replace({str(name): model for name, model in request.models.items()}, in_place=request.in_place)
    except StackError as error:
        return ReplaceAnswer(error=str(error), log_tail=list(error.log_tail))
    except PlatoLMError as error:
        return ReplaceAnswer(error=str(error), misuse=isinstance(error, InputError))
    return ReplaceAnswer()


@contextmanager
def _own_path(data_dir: Path) -> Iterator[str]:
    """Free before, and gone after: a socket that is there is a killed stack's, as the folder's lock is ours."""
    with _short_path(data_dir) as path:
        Path(path).unlink(missing_ok=True)
        try:
            yield path
        finally:
            Path(path).unlink(missing_ok=True)


@contextmanager
def _short_path(data_dir: Path) -> Iterator[str]:
    """The socket's path by way of the folder's descriptor: the kernel takes no socket path of over 107 bytes."""
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
