"""A fake engine that says what a test puts into its mouth."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.engine import FakeEngine
from tests.fakes.faults import Fault

HOSTILE = (
    "<script>alert('a script')</script> and <img src=x onerror=\"alert('an image')\">",
    "<svg onload=alert('svg')><iframe src=\"javascript:alert('frame')\"></iframe>",
    "[a link](javascript:alert('link')) and [another](JaVaScRiPt:alert('mixed')) <javascript:alert('auto')>",
    "![a picture](https://elsewhere.invalid/pixel.png) <link rel=stylesheet href=https://elsewhere.invalid/x.css>",
    "</textarea></script></title><script src=https://elsewhere.invalid/x.js></script>",
    '"><style>body { display: none }</style><form action=https://elsewhere.invalid/><input name=key></form>',
    "```html\n<script>alert('in code')</script>\n```\n<details open ontoggle=alert('toggle')>x</details>",
    "<a href=\"data:text/html,<script>alert('data')</script>\">data</a> <base href=https://elsewhere.invalid/>",
    "{{constructor.constructor('alert(1)')()}} ${alert('template')} <meta http-equiv=refresh content=0;url=//x.y>",
)
"""What models have been seen to write, and what somebody could have trained them to."""


@dataclass
class SpeakingEngine(FakeEngine):
    """Says one of `phrases`, chosen by prompt and seed; without any, what `FakeEngine` says."""

    phrases: Sequence[str] = ()

    async def _answer(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        return await super()._answer(request, {"seed": 0, **body}, fault)  # gateways leave the seed to their clients

    def _completion(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        answer = super()._completion(prompt, body)
        answer["choices"][0] |= {"index": 0, "prompt_token_ids": list(prompt)}
        return {"id": f"cmpl-{self.num_answered}", "created": int(time.time()), **answer}

    def _choice(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        if not self.phrases:
            return super()._choice(prompt, body)
        digest = hashlib.sha256(repr((prompt, body["seed"])).encode()).digest()
        text = self.phrases[digest[0] % len(self.phrases)]
        room = min(body["max_tokens"], self.max_model_len - len(prompt))
        ids = [*self.tokenizer.encode(text), self.tokenizer.eos_id][:room]
        ended = ids[-1] == self.tokenizer.eos_id
        reason = "stop" if ended else "length"
        return {"token_ids": ids, "text": self.tokenizer.decode(ids), "finish_reason": reason}
