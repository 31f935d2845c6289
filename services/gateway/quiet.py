"""Waits until an engine has nothing to do: the hook that a cluster runs before it stops a model server.

python -m services.gateway.quiet http://127.0.0.1:8011/metrics [--settle-s 10] [--timeout-s 60]

The server's name gives its address to nobody by then, and workers put no new conversation there; those that it has go
on until they end, or the time is over. Only the standard library is imported, so that the hook begins at once.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.request
from collections.abc import Callable
from urllib.error import URLError

_IN_HAND = ("vllm:num_requests_running", "vllm:num_requests_waiting")
_LOOK_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.5


def num_requests(metrics: str) -> float:
    """What an engine works on and what waits in it, by its own account; several cores are summed."""
    samples = (line for line in metrics.splitlines() if line.partition("{")[0].partition(" ")[0] in _IN_HAND)
    return sum(float(line.rpartition(" ")[2]) for line in samples)


def wait_until_quiet(
    read: Callable[[], str],
    *,
    settle_s: float,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the engine had nothing to do for `settle_s` on end; False: `timeout_s` was over first.

    Between two utterances a conversation asks nothing of this engine, and who looked its address up a moment ago may
    still come: a moment without requests is no end. An engine that refuses to answer (OSError) has nothing to finish,
    one that takes its time (TimeoutError) has.
    """
    began = quiet_since = clock()
    while True:
        try:
            busy = num_requests(read()) > 0
        except TimeoutError:
            busy = True
        except OSError:
            return True
        now = clock()
        quiet_since = now if busy else quiet_since
        if not busy and now - quiet_since >= settle_s:
            return True
        if now - began >= timeout_s:
            return False
        sleep(_POLL_INTERVAL_S)


def main(argv: list[str]) -> int:
    """0: quiet; 1: the time was over."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway.quiet", description=__doc__)
    parser.add_argument("url", help="the engine's metrics")
    parser.add_argument("--settle-s", type=float, default=10.0, help="how long it has to be quiet")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="longest time to wait")
    given = parser.parse_args(argv)
    if not given.url.startswith(("http://", "https://")):
        parser.error("the URL begins with http:// or https://")

    def read() -> str:
        try:
            with urllib.request.urlopen(given.url, timeout=_LOOK_TIMEOUT_S) as answer:
                text: str = answer.read().decode()
                return text
        except URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise error.reason from None
            raise

    return 0 if wait_until_quiet(read, settle_s=given.settle_s, timeout_s=given.timeout_s) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
