"""Taking in a large request in a process of its own.

python -m services.orchestrator.runs.apart: reads the arguments of `take_in` from standard input and writes what it
gives or raises to standard output, both pickled: the API alone starts it.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path

from platolm.errors import OutputError, PlatoLMError
from services.orchestrator.runs.intake import Order, TakenIn, take_in


async def take_in_apart(body: Path, order: Order) -> TakenIn:
    """`take_in`, with the same errors, in a process that ends with it.

    Raises:
        OutputError: that process died, most likely for want of memory.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        answer, _ = await process.communicate(pickle.dumps((body, order)))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise OutputError("the request was too large for this server's memory: give fewer seeds, or see its log")
    taken: TakenIn | PlatoLMError = pickle.loads(answer)
    if isinstance(taken, PlatoLMError):
        raise taken
    return taken


def _main() -> None:
    body, order = pickle.loads(sys.stdin.buffer.read())
    try:
        taken: TakenIn | PlatoLMError = take_in(body, order)
    except PlatoLMError as error:
        taken = error
    sys.stdout.buffer.write(pickle.dumps(taken))


if __name__ == "__main__":
    _main()
