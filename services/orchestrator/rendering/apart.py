"""Rendering in a process of its own, so that no text holds up the API, however long its Markdown or its code takes.

python -m services.orchestrator.rendering.apart: reads texts from standard input, one JSON string a line, and writes the
HTML of each likewise: the API alone starts it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

import structlog

from services.orchestrator.rendering.markdown import as_it_is, to_html

MAX_LINE_BYTES = 16 * 2**20
"""Of one text's HTML as JSON; a mebibyte of prose makes little more than one."""

_LONGEST_S = 30.0
"""A text that takes the process so long ends it, also when nobody is left who would."""

logger = structlog.get_logger(__name__)


class Renderer:
    """Renders texts in one process, which starts with the first text; one that takes too long is shown as it is."""

    def __init__(self, *, text_timeout_s: float = 2.0, timeout_s: float = 10.0) -> None:
        """Times that one text may take, and that all of one call may take together."""
        self._text_timeout_s = text_timeout_s
        self._timeout_s = timeout_s
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def html_of(self, texts: Sequence[str]) -> list[str]:
        """The texts' HTML, in their order."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self._timeout_s
            return [await self._rendered(text, deadline - loop.time()) for text in texts]

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _rendered(self, text: str, left_s: float) -> str:
        if left_s <= 0:
            return as_it_is(text)
        process = await self._running()
        try:
            async with asyncio.timeout(min(left_s, self._text_timeout_s)):
                return await _asked(process, text)
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            logger.warning("text_not_rendered", characters=len(text), error=repr(error))
            await self.close()
            return as_it_is(text)
        except asyncio.CancelledError:
            await self.close()  # its answer would be taken for the next text's
            raise

    async def _running(self) -> Process:
        if self._process is None:
            argv = (sys.executable, "-m", __name__)
            self._process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, limit=MAX_LINE_BYTES)
        return self._process


async def _asked(process: Process, text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(text).encode("ascii") + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the rendering process ended")
    html: str = json.loads(line)
    return html


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the API's; this ends with its standard input
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, _LONGEST_S)
        sys.stdout.write(json.dumps(to_html(json.loads(line))) + "\n")
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    _main()
